"""The preference for new classes, undone after the task: bias correction and weight aligning."""

from __future__ import annotations

import pytest
import torch
from test_strategies import MAKE, learn, make, train, weights
from tiny import first_batch, tiny_network, tiny_stream
from torch.nn import functional as F

from cl_runner.errors import ConfigError
from cl_runner.strategies.bic import BiC
from cl_runner.strategies.parts.correction import Correction
from cl_runner.strategies.wa import WA, align


@pytest.mark.parametrize("name", ["bic", "wa"])
@pytest.mark.parametrize("old_tasks", [1, 2])
def test_the_loss_is_shared_by_old_and_new_classes(name: str, old_tasks: int) -> None:
    """λ = n / (n + m) of the distillation at T = 2, a softmax over the old classes of each sample,
    once; T² and the batch have no part in it."""
    stream, strategy = tiny_stream(), make(name)
    train(strategy, stream, old_tasks)
    strategy.network.grow(stream.tasks[old_tasks])
    with torch.no_grad():
        for parameter in strategy.network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.manual_seed(5)))
    batch, n = first_batch(stream, old_tasks), 2 * old_tasks
    z, old = strategy.network(batch.x).tolist(), strategy.teacher(batch.x).tolist()
    if name == "bic":
        pairs = list(zip(strategy.correction.alpha, strategy.correction.beta, strict=True))
        z, old = (
            [[(a * v + b).item() for (a, b), v in zip(pairs, row, strict=True)] for row in logits]
            for logits in (z, old)
        )
    ce = kd = 0.0
    for now, before, label in zip(z, old, batch.y.tolist(), strict=True):
        ce -= torch.log_softmax(torch.tensor(now[: n + 2]), 0)[label].item() / len(z)
        p, q = (torch.log_softmax(torch.tensor(v[:n]) / 2, 0) for v in (before, now))
        kd += (p.exp() * (p - q)).sum().item() / len(z)
    terms = strategy.objective(batch)
    assert terms["task"].item() == pytest.approx(2 / (n + 2) * ce, rel=1e-4)
    assert terms["distillation"].item() == pytest.approx(n / (n + 2) * kd, rel=1e-4)


def test_a_correction_that_is_not_fitted_is_the_identity_bit_for_bit() -> None:
    z = torch.randn(7, 6)
    z[:, 4:] = -torch.inf
    assert torch.equal(Correction(6)(z), z)
    stream, strategy = tiny_stream(), make("bic")
    train(strategy, stream, 1)
    x = stream.test[0].x
    assert torch.equal(strategy.predict(x), strategy.network(x))


@pytest.mark.parametrize("planted", [(0.5, -2.0), (1.0, 0.0), (1.7, 1.5)])
@pytest.mark.parametrize("scope", ["seen", "all"])
def test_a_planted_bias_of_new_classes_is_found(planted: tuple[float, float], scope: str) -> None:
    """Labels are drawn from the softmax of z; the new outputs are shown as (z − β) / α."""
    task, draw = tiny_stream(scope=scope).tasks[1], torch.Generator().manual_seed(0)
    z = 2 * torch.randn(20_000, 6, generator=draw)
    if scope == "seen":
        z[:, 4:] = -torch.inf
    y = torch.multinomial(torch.softmax(z, 1), 1, generator=draw).flatten()
    biased = z.clone()
    biased[:, 2:4] = (z[:, 2:4] - planted[1]) / planted[0]
    correction = Correction(6)
    found = correction.fit(biased, y, task)
    assert found == pytest.approx(planted, abs=0.06)
    alpha, beta = (torch.tensor(v, requires_grad=True) for v in found)
    q = torch.cat([z[:, :2], alpha * biased[:, 2:4] + beta, z[:, 4:]], 1)
    gradients = torch.autograd.grad(F.cross_entropy(q, y), [alpha, beta])
    assert max(abs(g.item()) for g in gradients) < 1e-4  # it is the minimum
    torch.testing.assert_close(correction(biased).isfinite(), z.isfinite())
    assert correction.alpha.tolist() == pytest.approx([1, 1, found[0], found[0], 1, 1])
    assert correction.beta.tolist() == pytest.approx([0, 0, found[1], found[1], 0, 0])


def test_held_out_samples_that_are_all_told_apart_give_a_finite_pair() -> None:
    """The loss has no minimum then: it falls with α for ever."""
    z, y = torch.zeros(8, 6), torch.arange(4).repeat(2)
    z[:, :4] = 5 * F.one_hot(y, 4).float()
    z[:, 4:] = -torch.inf
    found = Correction(6).fit(z, y, tiny_stream().tasks[1])
    assert 1 <= found[0] < 100 and abs(found[1]) < 100


def test_the_second_stage_leaves_the_network_as_it_is() -> None:
    """Only the pair of the task's own classes moves; those of earlier tasks are kept and used."""
    stream, strategy, pairs = tiny_stream(), make("bic"), []
    for task in stream.tasks:
        strategy.network.grow(task)
        strategy.begin_task(task)
        learn_without_end(strategy, stream, task.index)
        before = weights(strategy)
        strategy.end_task(task)
        assert all(torch.equal(v, before[key]) for key, v in weights(strategy).items())
        pairs.append((strategy.correction.alpha.tolist(), strategy.correction.beta.tolist()))
    for number in (0, 1):
        first, second, third = (pair[number] for pair in pairs)
        assert first == [1.0 - number] * 6
        assert second[:2] == first[:2] and second[4:] == first[4:] and second[2] == second[3]
        assert third[:4] == second[:4] and third[4] == third[5] != second[4]
        assert second[2] != first[2]
    assert strategy.logged == {"alpha": pairs[2][0][4], "beta": pytest.approx(pairs[2][1][4])}
    x, (alpha, beta) = stream.test[1].x, map(torch.tensor, pairs[2])
    torch.testing.assert_close(strategy.predict(x), strategy.network(x) * alpha + beta)


def learn_without_end(strategy: BiC, stream, task: int) -> None:
    """A task of the loop, without what comes after its last step."""
    end, strategy.end_task = strategy.end_task, lambda task: None
    begin, strategy.begin_task = strategy.begin_task, lambda task: None
    grow, strategy.network.grow = strategy.network.grow, lambda task: None
    learn(strategy, stream, stream.tasks[task])
    strategy.end_task, strategy.begin_task, strategy.network.grow = end, begin, grow


@pytest.mark.parametrize("scenario", ["class_incremental", "domain_incremental"])
@pytest.mark.parametrize("size", [60, 90, 2000])
def test_held_out_samples_are_balanced_and_never_trained_on(scenario: str, size: int) -> None:
    """A tenth of the memory, and no more than a tenth of a class."""
    classes = 2 if scenario == "domain_incremental" else 6
    stream = tiny_stream(scenario)
    strategy = BiC(tiny_network(classes), buffer_size=size, T=2.0)
    trained: set[int] = set()
    for task in stream.tasks:
        strategy.network.grow(task)
        strategy.begin_task(task)
        data = strategy.training_data(stream, task)
        assert len(data) == strategy.training_size(stream, task)
        trained |= set(data.index.tolist())
        held_out = strategy.held_out
        kept = held_out.index[: held_out.stored].tolist()
        assert not trained & set(kept)
        counts = held_out.groups[: held_out.stored].unique(return_counts=True)[1].tolist()
        assert len(counts) == 2 * (task.index + 1) and max(counts) - min(counts) <= 1
        assert sum(counts) == min(size // 10, 4 * len(counts))  # four of forty of each class
        strategy.end_task(task)
        stored = strategy.memory.index[: strategy.memory.stored].tolist()
        assert set(stored) <= trained and len(stored) == min(size - size // 10, len(trained))


def test_a_task_of_which_all_is_held_out_is_refused_before_the_run() -> None:
    stream, strategy = tiny_stream(samples=1), make("bic")
    with pytest.raises(ConfigError, match="BiC: holds out a sample of each class, and task 2 has"):
        strategy.training_size(stream, stream.tasks[1])


def test_a_memory_with_no_held_out_sample_for_each_class_is_refused() -> None:
    words = r"^config error: buffer_size=59: has a tenth, 5, for .* Hint: buffer_size=60$"
    with pytest.raises(ConfigError, match=words):
        BiC(tiny_network(), buffer_size=59, T=2.0)


@pytest.mark.parametrize(("scope", "one_layer"), [("seen", False), ("seen", True), ("all", False)])
def test_aligned_rows_of_new_classes_are_as_long_as_old_ones(scope: str, one_layer: bool) -> None:
    """On the mean, by one factor; nothing else changes, and a second time nothing at all."""
    stream, strategy = tiny_stream(scope=scope), make("wa")
    strategy.network.fit_to(stream.outline, scope, one_layer)
    strategy.teacher.network.fit_to(stream.outline, scope, one_layer)
    train(strategy, stream, 1)
    strategy.network.grow(stream.tasks[1])
    with torch.no_grad():
        for rows in strategy.network.classifier.weights:
            rows.copy_(torch.randn_like(rows))
    before, weight = weights(strategy), strategy.network.classifier.weight.clone()
    gamma = align(strategy.network, stream.tasks[1])
    after = strategy.network.classifier.weight
    norms = [row.norm().item() for row in after]
    assert sum(norms[:2]) == pytest.approx(sum(norms[2:4]), rel=1e-5)
    torch.testing.assert_close(after[2:4], gamma * weight[2:4])
    assert torch.equal(after[:2], weight[:2]) and torch.equal(after[4:], weight[4:])
    assert norms[2] / norms[3] == pytest.approx((weight[2].norm() / weight[3].norm()).item())
    others = {k: v for k, v in weights(strategy).items() if "classifier.weights" not in k}
    assert all(torch.equal(v, before[key]) for key, v in others.items())
    assert align(strategy.network, stream.tasks[1]) == pytest.approx(1.0)
    torch.testing.assert_close(strategy.network.classifier.weight, after)


def test_weight_aligning_comes_before_the_next_teacher_and_never_in_the_first_task() -> None:
    stream, strategy = tiny_stream(), make("wa")
    train(strategy, stream, 1)
    assert strategy.logged == {}
    learn(strategy, stream, stream.tasks[1])
    norms = strategy.network.classifier.weight.norm(dim=1)
    assert norms[:2].mean().item() == pytest.approx(norms[2:4].mean().item(), rel=1e-5)
    assert strategy.logged["gamma"] != 1.0
    x = stream.test[0].x
    assert torch.equal(strategy.teacher(x), strategy.network.eval()(x))


def test_tasks_without_new_classes_have_nothing_to_align() -> None:
    strategy = WA(tiny_network(2), **MAKE["wa"][1])
    stream = tiny_stream("domain_incremental")
    train(strategy, stream, 1)
    before = weights(strategy)
    strategy.end_task(stream.tasks[1])
    assert strategy.logged == {"gamma": 1.0}
    assert all(torch.equal(v, before[key]) for key, v in weights(strategy).items())
