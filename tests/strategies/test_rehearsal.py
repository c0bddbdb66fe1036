"""Rehearsal's settings against training loops written by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from running import composed, final_state, run_here, trained
from test_strategies import make, train
from tiny import tiny_stream
from torch import Tensor
from torch.nn import functional as F

from cl_runner.data.batches import batches
from cl_runner.strategies.rehearsal import Rehearsal

EVERYTHING = {"buffer_size": 500, "replay_batch_size": 500, "policy": "reservoir"}
"""A memory that forgets nothing, and draws of all that is stored."""


def by_hand(loss: str, fill: str, iterations: int) -> Rehearsal:
    """Two epochs of SGD on each of three tasks; what is stored is a plain list."""
    stream, strategy = tiny_stream(scope="all"), make("finetune")
    network = strategy.network
    network.fit_to(stream.outline, "all")
    stored: list[tuple[Tensor, Tensor]] = []

    for task in stream.tasks:
        network.grow(task)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)

        def step(*parts: Tensor, optimizer: torch.optim.SGD = optimizer) -> None:
            optimizer.zero_grad()
            sum(parts).backward()
            optimizer.step()

        for epoch in range(2):
            for batch in batches(task.train, task, epoch=epoch, batch_size=16):
                for _ in range(iterations):
                    new = F.cross_entropy(network(batch.x), batch.y)
                    if not stored:
                        step(new)
                        if loss == "in_turn" and fill == "step":
                            step(F.cross_entropy(network(batch.x), batch.y))
                        continue
                    x, y = (torch.cat(column) for column in zip(*stored, strict=True))
                    if loss == "in_turn":
                        step(new)
                        step(F.cross_entropy(network(x), y))
                    elif loss == "sum":
                        step(new, F.cross_entropy(network(x), y))
                    else:
                        both = network(torch.cat([batch.x, x]))
                        step(F.cross_entropy(both, torch.cat([batch.y, y])))
                if fill == "step":
                    stored.append((batch.x, batch.y))
        if fill == "task":
            stored.append((task.train.x, task.train.y))
    return strategy


@pytest.mark.parametrize("fill", ["task", "step"])
@pytest.mark.parametrize(("loss", "iterations"), [("concat", 1), ("sum", 2), ("in_turn", 3)])
def test_it_is_the_loop_written_by_hand(loss: str, fill: str, iterations: int) -> None:
    """Filled by steps, it replays from the second step on, samples of the same task too."""
    own = {"loss": loss, "fill": fill, "replacement": False, "iterations": iterations}
    strategy = make("rehearsal", **EVERYTHING, **own)
    stream = tiny_stream(scope="all")
    strategy.network.fit_to(stream.outline, "all")
    train(strategy, stream, 3)
    expected = by_hand(loss, fill, iterations).network.state_dict()
    for name, value in strategy.network.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["rehearsal appended", "gem appended"])
@pytest.mark.parametrize(("size", "copies"), [(12, 6), (40, 2), (70, 1), (200, 1)])
def test_appended_all_that_is_stored_joins_the_data_as_often_as_fits(size, copies, name) -> None:
    """A task has 80 samples, so a small memory is repeated 80 // size times: no sample is left out
    and each is as often there as any other. The loss is the plain one."""
    stream, strategy = tiny_stream(), make(name, buffer_size=size)
    for task in stream.tasks:
        data = strategy.training_data(stream, task)
        assert len(data) == strategy.training_size(stream, task)
        stored = strategy.memory.index[: strategy.memory.stored].tolist()
        expected = sorted([*task.train.index.tolist(), *copies * stored])
        assert sorted(data.index.tolist()) == expected
        strategy.network.grow(task)
        batch = next(iter(batches(data, task, epoch=0, batch_size=16)))
        plain = F.cross_entropy(strategy.network(batch.x), batch.y)
        assert torch.equal(strategy.objective(batch)["task"], plain)
        strategy.end_task(task)


@pytest.mark.parametrize("name", ["rehearsal appended", "gem appended"])
def test_an_epoch_has_no_more_stored_samples_than_a_task_may_give(name: str) -> None:
    """What a run counts before it begins; `learn` asserts that it is what it trains on."""
    few = {"samples_per_task": 5, "policy": "class_balanced", "buffer_size": 30}
    stream, strategy = tiny_stream(), make(name, **few)
    train(strategy, stream, 3)
    sizes = [strategy.training_size(stream, task) for task in stream.tasks]
    assert sizes == [80, 80 + 2 * 5, 80 + 2 * 10]


RUN = ("strategy=rehearsal", "strategy.policy=reservoir", "strategy.buffer_size=40",
       "dataset.tasks=2", "batch_size=75", "model.widths=[8]", "epochs=2")  # fmt: skip
ONLINE = ("strategy.fill=step", "strategy.loss=in_turn", "strategy.iterations=3")


def test_steps_in_a_row_count_as_steps_and_each_sample_is_stored_once(tmp_path: Path) -> None:
    """In the runner's own loop; with a budget in steps, an epoch may end within a batch."""
    plain = run_here(tmp_path / "plain", *RUN)["cost"]["steps"]
    assert run_here(tmp_path / "online", *RUN, *ONLINE)["cost"]["steps"] == 6 * plain
    memory = trained(tmp_path / "online", *RUN, *ONLINE).memory
    tasks = composed(*RUN).dataset.load(seed=0, scope="seen", device="cpu").tasks
    assert memory.seen == 2 * sum(len(task.train) for task in tasks) and memory.stored == 40
    ended = run_here(tmp_path / "ended", *RUN, *ONLINE, "epochs=null", "steps=29")
    assert ended["cost"]["steps"] == 58


@pytest.mark.parametrize("own", [("strategy.fill=step",), ("strategy.iterations=2",)])
def test_what_changes_the_first_task_does_not_share_it(own, cl_train_here, tmp_path: Path) -> None:
    """A cache that fine-tuning has filled leaves the results as they are without it."""
    cache = f"first_task_cache={tmp_path / 'shared'}"
    common = ("threads=1", "output_root=.", *RUN[3:])
    runs = {
        "fine-tuning": ("strategy=finetune", cache),
        "without": (*RUN[:3], *own),
        "with": (*RUN[:3], *own, cache),
        "again": (*RUN[:3], *own, cache),
    }
    for name, words in runs.items():
        assert cl_train_here(*common, f"name={name}", *words).returncode == 0
    ends = [final_state(tmp_path / name)["strategy"] for name in ("without", "with", "again")]
    for key, value in ends[0].items():
        if isinstance(value, Tensor):
            assert torch.equal(value, ends[1][key]) and torch.equal(value, ends[2][key])
        else:
            assert value == ends[1][key] == ends[2][key]
    assert len(list((tmp_path / "shared").glob("*.ckpt"))) == 2
