"""DER, DER++, ER-ACE and FDR: each by the identities of its equation."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from test_strategies import MAKE, equal, gradient_of, learn, make, train
from tiny import first_batch, tiny_network, tiny_stream
from torch.nn import functional as F

from cl_runner.data.batches import batches
from cl_runner.data.likelihood import GAUSSIAN
from cl_runner.errors import ConfigError
from cl_runner.strategies.er_ace import ERACE


def test_der_is_derpp_without_its_labels_bit_for_bit() -> None:
    """β of DER's own is 0, not DER++'s default; and no second draw costs a pass."""
    stream, one, other = tiny_stream(), make("der"), make("derpp", beta=0.0)
    train(one, stream, 3)
    train(other, stream, 3)
    assert equal(one, other)
    assert set(one.objective(first_batch(stream, 2))) == {"task", "logits"}
    plus = make("derpp", beta=0.5)
    train(plus, stream, 3)
    assert not equal(one, plus)


def test_derpp_without_its_logits_is_the_sum_of_two_means_on_the_same_draw() -> None:
    stream, strategy = tiny_stream(), make("derpp", alpha=0.0, beta=1.0)
    train(strategy, stream, 2)
    batch = first_batch(stream, 2)
    strategy.network.grow(stream.tasks[2])
    terms = strategy.objective(batch)
    replayed = strategy.memory.draw(batch, 5, "labels")
    two = F.cross_entropy(strategy.network(batch.x), batch.y)
    two = two + F.cross_entropy(strategy.network(replayed.x), replayed.y)
    torch.testing.assert_close(sum(terms.values()), two)


def test_the_squares_of_der_are_a_mean_over_samples_and_outputs() -> None:
    stream, strategy = tiny_stream(), make("der", alpha=0.3)
    train(strategy, stream, 2)
    batch = first_batch(stream, 2)
    strategy.network.grow(stream.tasks[2])
    term = strategy.objective(batch)["logits"]
    drawn = strategy.memory.draw(batch, 5, "logits")
    outputs, stored = strategy.network(drawn.x).tolist(), drawn.columns["logits"].tolist()
    squares = [
        (outputs[i][c] - stored[i][c]) ** 2
        for i in range(5)
        for c in range(6)
        if stored[i][c] != -math.inf  # a class that was not there yet: heads of two widths
    ]
    assert 10 < len(squares) < 30
    assert term.item() == pytest.approx(0.3 * sum(squares) / len(squares), rel=1e-5)


def test_der_stores_logits_of_the_picture_as_it_was_seen_and_asks_nothing_at_once() -> None:
    """Of the network in training and before the step; while no weight changes the term is 0."""
    stream, strategy = tiny_stream(), make("der")
    learn(strategy, stream, stream.tasks[0], lr=0.0)
    assert strategy.objective(first_batch(stream, 0))["logits"].item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("scope", ["seen", "all"])
def test_new_samples_give_no_gradient_to_the_rows_of_classes_that_are_not_among_them(scope) -> None:
    """Exactly zero, also for classes after the last one seen, which other codes leave in."""
    stream, strategy = tiny_stream(scope=scope), make("er_ace")
    strategy.network.fit_to(stream.outline, scope)
    train(strategy, stream, 2)
    batch = first_batch(stream, 1)
    assert set(batch.y.tolist()) == {2, 3}
    strategy.network.zero_grad()
    strategy.objective(batch)["task"].backward()
    gradients = [p.grad for p in strategy.network.classifier.weights]
    rows = torch.cat([torch.zeros(2, 8) if g is None else g for g in gradients])
    assert not rows[[0, 1, 4, 5]].any() and rows[2].any() and rows[3].any()
    logits = strategy.network(batch.x)[:, [2, 3]]
    expected = F.cross_entropy(logits, batch.y - 2)
    torch.testing.assert_close(strategy.objective(batch)["task"], expected)


def test_where_all_classes_are_present_it_is_the_sum_of_two_plain_losses() -> None:
    stream = tiny_stream("domain_incremental")
    strategy = ERACE(tiny_network(2), buffer_size=12, policy="reservoir", replay_batch_size=5,
                     replacement=False)  # fmt: skip
    train(strategy, stream, 2)
    batch = first_batch(stream, 2)
    terms = strategy.objective(batch)
    drawn = strategy.memory.draw(batch, 5, "replay", False)
    for term, of in (("task", batch), ("replay", drawn)):
        torch.testing.assert_close(terms[term], F.cross_entropy(strategy.network(of.x), of.y))


def test_stored_samples_compete_with_all_classes_seen() -> None:
    stream, strategy = tiny_stream(), make("er_ace")
    train(strategy, stream, 2)
    batch = first_batch(stream, 1)
    drawn = strategy.memory.draw(batch, 5, "replay")
    strategy.network.zero_grad()
    strategy.objective(batch)["replay"].backward()
    plain = gradient_of(strategy.network, drawn)
    for parameter, expected in zip(strategy.network.parameters(), plain, strict=True):
        assert (parameter.grad is None) == (expected is None)
        if expected is not None:
            torch.testing.assert_close(parameter.grad, expected)


@pytest.mark.parametrize("name", ["er_ace", "fdr"])
def test_an_equation_about_classes_needs_them(name: str) -> None:
    network = tiny_network()
    network.likelihood = GAUSSIAN
    build, settings = MAKE[name]
    with pytest.raises(ConfigError, match="needs classes, and the targets"):
        build(network, **settings)


def test_fdr_asks_nothing_right_after_storing() -> None:
    stream, strategy = tiny_stream(), make("fdr")
    train(strategy, stream, 1)
    again = replace(first_batch(stream, 0), turn=1)
    assert strategy.objective(again)["distance"].item() == pytest.approx(0, abs=1e-6)


def test_fdr_is_a_step_on_the_loss_then_one_on_the_norm_of_the_difference() -> None:
    """Written by hand; the norm is not squared, and the momentum goes through both steps."""
    stream, strategy = tiny_stream(), make("fdr", alpha=0.7)
    train(strategy, stream, 1)
    other = make("fdr", alpha=0.7)
    other.load_state_dict(strategy.state_dict())
    learn(strategy, stream, stream.tasks[1], epochs=2)
    network, memory, task = other.network, other.memory, stream.tasks[1]
    network.grow(task)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(2):
        for step, batch in enumerate(batches(task.train, task, epoch=epoch, batch_size=16)):
            optimizer.zero_grad()
            F.cross_entropy(network(batch.x), batch.y).backward()
            optimizer.step()
            optimizer.zero_grad()
            second = replace(batch, position=(0, 1, epoch, 2 * step + 1))
            drawn = memory.draw(second, 5, "replay")
            p, stored = torch.softmax(network(drawn.x), 1), drawn.columns["p"]
            distances = [(p[i] - stored[i]).square().sum().sqrt() for i in range(5)]
            (0.7 * sum(distances) / 5).backward()
            optimizer.step()
    for name, value in strategy.network.state_dict().items():
        torch.testing.assert_close(value, network.state_dict()[name], rtol=1e-3, atol=1e-5)


def test_fdr_stores_the_probabilities_of_the_network_when_the_task_ended() -> None:
    stream, strategy = tiny_stream(), make("fdr")
    train(strategy, stream, 1)
    memory, network = strategy.memory, strategy.network.eval()
    kept = memory.samples(stream.tasks[0].train.pixels)
    p = torch.softmax(network(kept.x), 1)
    torch.testing.assert_close(memory.columns["p"][: memory.stored], p)
    assert torch.equal(p[:, 2:], torch.zeros_like(p[:, 2:]))  # not there yet


def test_a_reservoir_may_keep_nothing_of_a_task() -> None:
    """One slot: after the third task it holds one of its samples in a third of all runs."""
    stream, kept = tiny_stream(), set()
    for seed in range(8):
        strategy = make("fdr", policy="reservoir", buffer_size=1)
        for task in stream.tasks:
            strategy.network.grow(task)
            strategy.end_task(replace(task, seed=seed))
        assert (strategy.memory.stored, strategy.memory.seen) == (1, 240)
        kept.add(int(strategy.memory.groups[0]) >> 32)
    assert len(kept) > 1
