"""GSS: its selection against the printed algorithm, and what may enter a full memory."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from test_strategies import MAKE, gradient_of, make, train
from tiny import first_batch, tiny_network, tiny_stream

from cl_runner.data.batches import Batch
from cl_runner.strategies.gss import GSS
from cl_runner.strategies.parts.gradients import of_groups
from cl_runner.strategies.parts.selection import by_gradient


def test_the_selection_is_algorithm_2_of_aljundi_et_al() -> None:
    """Against the algorithm as it is printed, line by line, with the same chances."""
    draw = random.Random(2)
    stored: list[tuple[float, int]] = []  # C, arrival
    scores: list[float] = []
    ours: dict[int, int] = {}
    for step in range(60):
        arriving = [2 * draw.random() for _ in range(7)]
        chances = [(draw.random(), draw.random()) for _ in range(7)]
        whole = draw.choice([0.5, 0.999, 1.0, 1.5])
        for row, (c, (u, r)) in enumerate(zip(arriving, chances, strict=True)):
            arrival = 7 * step + row
            if len(stored) < 10:
                stored.append((c, arrival))
            elif whole < 1:  # cosine < 0
                total, i = sum(c for c, _ in stored), 0
                while u * total >= sum(c for c, _ in stored[: i + 1]):
                    i += 1
                if r < stored[i][0] / (stored[i][0] + c):
                    stored[i] = (c, arrival)
        winners = by_gradient(scores, 10, arriving, whole, chances)
        ours |= {slot: 7 * step + row for slot, row in winners.items()}
    assert [(scores[slot], ours[slot]) for slot in range(10)] == stored
    assert max(ours.values()) > 100


@pytest.mark.parametrize("classifier", ["linear", "cosine"])
@pytest.mark.parametrize("scenario", ["class_incremental", "task_incremental"])
def test_gradients_of_groups_are_those_of_a_backward_pass_for_each(
    scenario: str, classifier: str
) -> None:
    stream, (build, settings) = tiny_stream(scenario), MAKE["gss"]
    strategy = build(tiny_network(new_rows="default", classifier=classifier), **settings)
    train(strategy, stream, 2)
    batch = first_batch(stream, 1)
    network, groups = strategy.network.eval(), batch.x[:15].unflatten(0, (5, 3))
    found = of_groups(network, groups, batch.y[:15].unflatten(0, (5, 3)), batch.task)
    for row, x, y in zip(found, groups, batch.y[:15].unflatten(0, (5, 3)), strict=True):
        parts = gradient_of(network, replace(batch, x=x, y=y))
        pairs = zip(parts, network.parameters(), strict=True)
        flat = [(torch.zeros_like(p) if g is None else g).flatten() for g, p in pairs]
        torch.testing.assert_close(row, torch.cat(flat), rtol=1e-4, atol=1e-7)


def full(x: torch.Tensor, labels: list[int]) -> tuple[GSS, Batch]:
    """A memory of such pictures with these labels, each compared with every new sample."""
    stream = tiny_stream("domain_incremental")
    strategy = GSS(tiny_network(2, new_rows="default"), buffer_size=len(labels),
                   replay_batch_size=2, loss="concat", iterations=1, gradients=len(labels),
                   gradient_batch_size=1)  # fmt: skip
    strategy.network.grow(stream.tasks[0])
    torch.manual_seed(1)
    torch.nn.init.normal_(strategy.network.classifier.weights[0])
    batch = first_batch(stream, 0)
    shown = replace(batch, raw=x, x=stream.tasks[0].train.pixels(x), y=torch.tensor(labels),
                    index=torch.arange(len(labels)))  # fmt: skip
    strategy.after_step(shown)
    assert strategy.memory.stored == len(labels)
    return strategy, batch


def entered(strategy: GSS, batch: Batch, x: torch.Tensor, label: int, times: int = 30) -> int:
    """How often a sample enters; each time into the memory as it was."""
    state, count = {k: v for k, v in strategy.memory.state_dict().items()}, 0
    state = {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in state.items()}
    for step in range(times):
        strategy.memory.load_state_dict(state)
        shown, number = batch.task.train.pixels(x[None]), torch.tensor([99])
        new = replace(batch, raw=x[None], x=shown, index=number, y=torch.tensor([label]),
                      position=(0, 0, 0, step))  # fmt: skip
        strategy.after_step(new)
        count += int((strategy.memory.index == 99).sum())
    return count


def test_a_duplicate_never_enters_a_full_memory_and_its_opposite_always_does() -> None:
    """With two classes, the same picture with the other label has the opposite gradient."""
    raw = first_batch(tiny_stream("domain_incremental"), 0, size=1).raw
    strategy, batch = full(raw.expand(4, -1, -1, -1).clone(), [0, 0, 0, 0])
    assert entered(strategy, batch, raw[0], 0) == 0
    assert entered(strategy, batch, raw[0], 1) == 30


def test_a_sample_at_a_right_angle_enters_as_long_as_there_is_room() -> None:
    chances = [(0.0, 0.0)] * 4
    scores: list[float] = []
    assert by_gradient(scores, 4, [1.0] * 4, 1.0, chances) == {0: 0, 1: 1, 2: 2, 3: 3}
    assert (
        by_gradient(scores, 4, [1.0] * 4, 1.0, chances) == {}
    )  # once it is full, only obtuse angles


def test_while_there_is_room_it_is_rehearsal_filled_by_steps_bit_for_bit() -> None:
    """Including its steps in turn, several for each batch, and their draws."""
    own = {"loss": "in_turn", "iterations": 2, "replay_batch_size": 5, "buffer_size": 500}
    stream, gss = tiny_stream(), make("gss", **own)
    plain = make("rehearsal by steps", policy="reservoir", **own)
    for strategy in (gss, plain):
        train(strategy, stream, 3)
    assert torch.equal(gss.memory.images, plain.memory.images)
    for name, value in gss.network.state_dict().items():
        assert torch.equal(value, plain.network.state_dict()[name])


def test_the_scores_kept_are_those_of_when_a_sample_was_stored() -> None:
    stream, strategy = tiny_stream(), make("gss")
    train(strategy, stream, 3)
    score = strategy.memory.columns["score"]
    assert (score >= -1e-6).all() and (score <= 2 + 1e-6).all() and len(score.unique()) > 3
    assert strategy.memory.seen == 2 * 240  # each sample once an epoch, not once a step
