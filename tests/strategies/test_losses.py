"""The terms of the equations against torch's own losses and brute force."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from tiny import first_batch, tiny_stream
from torch.nn import functional as F

from cl_runner.strategies.parts.losses import distillation, rehearsal, task_loss
from cl_runner.strategies.parts.quadratic import Quadratic


@pytest.mark.parametrize("scenario", ["class_incremental", "task_incremental"])
@pytest.mark.parametrize("scope", ["all", "seen", "new"])
def test_cross_entropy_is_over_the_classes_that_compete(scenario: str, scope: str) -> None:
    stream = tiny_stream(scenario, scope)
    batch = first_batch(stream, 1)
    logits = torch.randn(len(batch.y), 6)
    if scope != "all":
        logits[:, 4:] = -math.inf  # as the network gives it: the third task is not born yet
    losses = []
    for row, label in zip(logits.tolist(), batch.y.tolist(), strict=True):
        own = range(label // 2 * 2, label // 2 * 2 + 2)
        chosen = {"all": range(6), "seen": range(4), "new": own}[scope]
        among = own if scenario == "task_incremental" else chosen
        losses.append(math.log(sum(math.exp(row[c]) for c in among)) - row[label])
    assert task_loss(logits, batch).item() == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_a_replayed_sample_competes_by_todays_rule() -> None:
    stream = tiny_stream()
    old, today = first_batch(stream, 0), stream.tasks[2]
    replayed = replace(old, task=today)
    logits = torch.randn(len(old.y), 6)
    assert torch.equal(task_loss(logits, replayed), F.cross_entropy(logits, old.y))


@pytest.mark.parametrize("T", [0.5, 1.0, 2.0, 4.0])
def test_distillation_is_t_squared_times_torchs_kl(T: float) -> None:
    task = tiny_stream().tasks[1]
    student, teacher = torch.randn(9, 6), torch.randn(9, 6)
    kl = torch.nn.KLDivLoss(reduction="batchmean")(
        F.log_softmax(student[:, :2] / T, 1), F.softmax(teacher[:, :2] / T, 1)
    )
    torch.testing.assert_close(distillation(student, teacher, task, T, True), T**2 * kl)
    torch.testing.assert_close(distillation(student, teacher, task, T, False), kl)


def test_distillation_gradient_is_closed_form_and_vanishes_at_the_teacher() -> None:
    task, T = tiny_stream().tasks[2], 2.0
    teacher = torch.randn(5, 6, dtype=torch.float64)
    for student in (teacher.clone(), torch.randn(5, 6, dtype=torch.float64)):
        student.requires_grad_()
        distillation(student, teacher, task, T, True).backward()
        p, q = (F.softmax(z[:, :4] / T, 1) for z in (student.detach(), teacher))
        torch.testing.assert_close(student.grad[:, :4], T * (p - q) / 5)
        assert not student.grad[:, 4:].any()


def test_in_a_task_incremental_stream_each_old_task_is_distilled_by_itself() -> None:
    task = tiny_stream("task_incremental").tasks[2]
    student, teacher = torch.randn(4, 6), torch.randn(4, 6)
    parts = [
        F.kl_div(
            F.log_softmax(student[:, c], 1), F.softmax(teacher[:, c], 1), reduction="batchmean"
        )
        for c in (slice(0, 2), slice(2, 4))
    ]
    torch.testing.assert_close(distillation(student, teacher, task, 1.0, True), sum(parts))


def test_rehearsal_concat_is_the_mean_over_the_union() -> None:
    batch = first_batch(tiny_stream(), 2)
    replayed = replace(batch, x=batch.x[:5], y=batch.y[:5] - 4)
    logits = torch.randn(len(batch.y) + 5, 6)
    labels = torch.cat([batch.y, replayed.y])
    terms = rehearsal(logits, batch, replayed, "concat")
    torch.testing.assert_close(terms["task"] + terms["replay"], F.cross_entropy(logits, labels))
    terms = rehearsal(logits, batch, replayed, "sum")
    torch.testing.assert_close(terms["replay"], F.cross_entropy(logits[-5:], replayed.y))


@pytest.mark.parametrize("task", [1, 2])
def test_rehearsal_by_task_weighs_the_stored_samples_as_the_tasks_they_stand_for(task: int) -> None:
    """1/k and 1 − 1/k, however many samples there are of each."""
    batch = first_batch(tiny_stream(scope="all"), task)
    replayed = replace(batch, x=batch.x[:5], y=batch.y[:5] - 2)
    logits = torch.randn(len(batch.y) + 5, 6)
    terms = rehearsal(logits, batch, replayed, "by_task")
    each = [math.log(sum(map(math.exp, row))) - row[int(y)] for row, y in
            zip(logits.tolist(), [*batch.y, *replayed.y], strict=True)]  # fmt: skip
    k = task + 1
    assert terms["task"].item() == pytest.approx(sum(each[:16]) / 16 / k, rel=1e-5)
    assert terms["replay"].item() == pytest.approx(sum(each[16:]) / 5 * (k - 1) / k, rel=1e-5)


def test_three_penalties_kept_as_one_are_their_sum_in_value_and_gradient() -> None:
    size, kept = 50, Quadratic([torch.zeros(50, dtype=torch.float64)]).double()
    springs = [(torch.rand(size).double(), torch.randn(size).double()) for _ in range(3)]
    springs[1][0][:10] = 0  # as a weight that a task did not need
    for weight, anchor in springs:
        kept.add(weight, anchor)
    theta = torch.randn(size, dtype=torch.float64, requires_grad=True)
    separate = sum((w * (theta - a) ** 2).sum() for w, a in springs)
    (expected,) = torch.autograd.grad(separate, theta)
    (found,) = torch.autograd.grad(kept([theta]), theta)
    torch.testing.assert_close(kept([theta]), separate)
    torch.testing.assert_close(found, expected)


def test_the_penalty_over_several_parameters_passes_gradcheck() -> None:
    parameters = [torch.randn(2, 3), torch.randn(4), torch.randn(1, 1, 2)]
    parameters = [p.double().requires_grad_() for p in parameters]
    kept = Quadratic(parameters).double()
    kept.add(torch.rand(12).double(), torch.randn(12).double())
    assert torch.autograd.gradcheck(lambda *p: kept(list(p)), parameters)
    assert torch.autograd.gradcheck(lambda *p: kept(list(p), strength=3.0), parameters)
    flat = torch.cat([p.detach().flatten() for p in parameters])
    expected = (kept.weight * (flat - kept.anchor) ** 2).sum()
    torch.testing.assert_close(kept(parameters).detach(), expected)


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_a_penalty_of_some_strength_is_that_many_times_the_sum(share: float) -> None:
    """Looked at twice, as the alarm does before the step, and as a share of the loss, as with
    `accumulate`."""
    theta, kept = torch.randn(9, requires_grad=True), Quadratic([torch.zeros(9)])
    kept.add(torch.rand(9), torch.randn(9))
    kept.add(torch.rand(9), torch.randn(9))
    term = share * kept([theta], strength=5.0)
    (looked,) = torch.autograd.grad(term, theta, retain_graph=True)
    (again,) = torch.autograd.grad(term, theta)
    expected = share * 10 * kept.weight * (theta - kept.anchor).detach()
    torch.testing.assert_close(looked, expected)
    assert torch.equal(looked, again)
    torch.testing.assert_close(term, share * 5 * kept([theta]))
