"""Distillation from the network before the task: its outputs and its weight."""

from __future__ import annotations

import pytest
import torch
from test_strategies import equal, make, train
from tiny import first_batch, tiny_network, tiny_stream
from torch.nn import functional as F

from cl_runner.data.batches import Batch
from cl_runner.strategies.lwf import LwF
from cl_runner.strategies.strategy import Strategy

SCENARIOS = ["class_incremental", "task_incremental", "domain_incremental"]


def after(tasks: int, strategy: Strategy, scenario: str, scope: str = "seen") -> Batch:
    """The first batch of the next task, with weights that have moved since."""
    stream = tiny_stream(scenario, scope)
    train(strategy, stream, tasks)
    strategy.network.grow(stream.tasks[tasks])
    with torch.no_grad():
        for parameter in strategy.network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.manual_seed(5)))
    return first_batch(stream, tasks)


def lwf(scenario: str, **changed: object) -> LwF:
    domain = scenario == "domain_incremental"
    strategy = make("lwf", T=2.0, alpha=0.5, t_squared=False, **changed)
    if domain:
        settings = {"alpha": 0.5, "T": 2.0, "t_squared": False, "outputs": "old"}
        named = {"mixing": "additive", "class_mean": False, **settings, **changed}
        strategy = LwF(tiny_network(2), **named)
    return strategy


@pytest.mark.parametrize("scope", ["seen", "all"])
def test_over_all_outputs_a_class_that_the_teacher_lacks_has_the_target_zero(scope: str) -> None:
    """The cross-entropy between the two, less the teacher's entropy. Where all classes compete from
    the start, the teacher has outputs for those to come."""
    strategy = make("lwf", outputs="all", t_squared=False)
    if scope == "all":
        strategy.network.fit_to(tiny_stream(scope="all").outline, "all")
        strategy.teacher.network.fit_to(tiny_stream(scope="all").outline, "all")
    batch = after(1, strategy, "class_incremental", scope)
    known, now = (2, 4) if scope == "seen" else (6, 6)
    z, old = strategy.network(batch.x).detach(), strategy.teacher(batch.x)
    expected = 0.0
    for i in range(len(batch.y)):
        q = torch.softmax(old[i, :known] / 2, 0)
        log_p = torch.log_softmax(z[i, :now] / 2, 0)[:known]
        expected += (q * (q.log() - log_p)).sum().item() / len(batch.y)
    terms = strategy.objective(batch)
    assert terms["distillation"].item() == pytest.approx(0.5 * expected, rel=1e-4)
    gradients = torch.autograd.grad(
        terms["distillation"], list(strategy.network.parameters()), allow_unused=True
    )
    assert all(g.isfinite().all() for g in gradients if g is not None)
    new_biases = gradients[-2] if scope == "seen" else gradients[-1][2:4]
    assert new_biases.abs().max() > 1e-4  # it acts on the outputs of new classes, too


@pytest.mark.parametrize("scenario", ["task_incremental", "domain_incremental"])
def test_where_new_classes_do_not_compete_with_old_ones_all_outputs_are_the_old(
    scenario: str,
) -> None:
    streams = [lwf(scenario, outputs=outputs) for outputs in ("old", "all")]
    for strategy in streams:
        train(strategy, tiny_stream(scenario), 3)
    assert equal(*streams)


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("old_tasks", [1, 2])
def test_the_weights_by_the_number_of_the_task(scenario: str, old_tasks: int) -> None:
    """1/k and 1 − 1/k of the mean over old tasks, or its sum."""
    strategy = lwf(scenario)
    batch = after(old_tasks, strategy, scenario)
    z, old = strategy.network(batch.x), strategy.teacher(batch.x)
    if scenario == "task_incremental":
        slices = [slice(0, 2), slice(2, 4)][:old_tasks]
    else:
        slices = [slice(0, 2 if scenario == "domain_incremental" else 2 * old_tasks)]
    kls = [
        F.kl_div(
            F.log_softmax(z[:, s] / 2, 1), F.softmax(old[:, s] / 2, 1), reduction="batchmean"
        ).item()
        for s in slices
    ]
    mean, k = sum(kls) / len(kls), old_tasks + 1
    ce = strategy.objective(batch)["task"].item()
    weights = {
        "additive": (1, 0.5 * sum(kls)),
        "convex": (0.5, 0.5 * sum(kls)),
        "by_task": (1 / k, (1 - 1 / k) * 0.5 * mean),
        "per_old_task": (1, (k - 1) * 0.5 * mean),
    }
    for mixing, (task, kd) in weights.items():
        other = lwf(scenario, mixing=mixing)
        other.load_state_dict(strategy.state_dict())
        terms = other.objective(batch)
        assert terms["task"].item() == pytest.approx(task * ce, rel=1e-5), mixing
        assert terms["distillation"].item() == pytest.approx(kd, rel=1e-4), mixing


@pytest.mark.parametrize("outputs", ["old", "all"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_mean_over_classes_is_torchs_mean_over_all_elements(
    scenario: str, outputs: str
) -> None:
    """Of the cross-entropy, whose gradient is that of KL: what the first code of van de Ven &
    Tolias (2019) computes for each group of outputs, with targets of zero for new ones."""
    strategy = lwf(scenario, outputs=outputs, class_mean=True)
    batch = after(2, strategy, scenario)
    wide, teacher = strategy.network(batch.x), strategy.teacher(batch.x)
    known, scored = {
        "task_incremental": ([slice(0, 2), slice(2, 4)],) * 2,
        "domain_incremental": ([slice(0, 2)],) * 2,
        "class_incremental": ([slice(0, 4)], [slice(0, 4 if outputs == "old" else 6)]),
    }[scenario]
    expected = wide.new_zeros(())
    for old, now in zip(known, scored, strict=True):
        log_p = F.log_softmax(wide[:, now] / 2, 1)
        targets = torch.zeros_like(log_p)
        targets[:, : old.stop - old.start] = F.softmax(teacher[:, old] / 2, 1)
        expected = expected - 0.5 * (targets * log_p).mean()
    ours = strategy.objective(batch)["distillation"]
    parameters = list(strategy.network.parameters())
    for one, other in zip(
        torch.autograd.grad(ours, parameters, allow_unused=True),
        torch.autograd.grad(expected, parameters, allow_unused=True),
        strict=True,
    ):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            torch.testing.assert_close(one, other)
