"""Every strategy on streams whose tasks show samples of each other."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from importlib import import_module

import pytest
import torch
import yaml
from test_memory import plain_task
from test_strategies import learn
from tiny import SHAPE, tiny_network, tiny_stream
from torch.nn import functional as F

from cl_runner.config.build import settings_of
from cl_runner.config.paths import CONF
from cl_runner.data.batches import batches
from cl_runner.data.stream import Stream, Task
from cl_runner.models.mlp import mlp
from cl_runner.models.network import Network
from cl_runner.strategies.mas import batch_sensitivity, sensitivity
from cl_runner.strategies.parts.fisher import fisher_diagonal
from cl_runner.strategies.parts.memory import Memory
from cl_runner.strategies.strategy import Strategy

SHIPPED = sorted(file.stem for file in (CONF / "strategy").glob("*.yaml"))
TINY = {"buffer_size": 12, "replay_batch_size": 5, "fisher_samples": 20, "importance_samples": 20,
        "iterations": 1, "gradients": 2, "interval": 3, "projection": 30}  # fmt: skip
STREAMS = {
    "blurry": ("class_incremental", "all", {"blurry": 0.2}),
    "blurry tasks": ("task_incremental", "all", {"blurry": 0.2}),
    "blurry domains": ("domain_incremental", "seen", {"blurry": 0.2}),
    "repeating": ("class_incremental", "seen", {"repetition": 0.3}),
    "repeating, own softmax": ("class_incremental", "new", {"repetition": 0.3}),
    "repeating tasks": ("task_incremental", "seen", {"repetition": 0.3}),
}


def stream_of(name: str) -> tuple[Stream, Network]:
    scenario, scope, mixing = STREAMS[name]
    stream = tiny_stream(scenario, scope, samples=20, **mixing)
    torch.manual_seed(0)
    settings = {"widths": [8], "activation": "relu", "batch_norm": True, "init": "default",
                "freeze_statistics": False, "new_rows": "default", "classifier": "linear",
                "inserted_layer": "none"}  # fmt: skip
    network = mlp(SHAPE, stream.outline.classes, **settings)
    network.fit_to(stream.outline, scope)
    return stream, network


def shipped(name: str, network: Network) -> Strategy:
    """As its YAML file has it, but small."""
    node = yaml.safe_load((CONF / "strategy" / f"{name}.yaml").read_text())
    module, _, target = node.pop("_target_").rpartition(".")
    found = getattr(import_module(module), target)
    small = {key: TINY[key] for key in node.keys() & TINY}
    small |= {"buffer_size": 60} if name == "bic" else {}
    return found(network, **settings_of(found, node | small, "strategy", ("cl_runner",)))


@pytest.mark.parametrize("kind", STREAMS)
def test_every_strategy_learns(kind: str) -> None:
    """`learn` asserts that each task has as many samples as the strategy has said."""
    for name in SHIPPED:
        stream, network = stream_of(kind)
        if name == "separate" and len(network.classifier.sizes) == 1:
            continue  # refused
        strategy = shipped(name, network)
        for task in stream.tasks:
            learn(strategy, stream, task, epochs=1, lr=0.01)
            strategy.eval()
            scores = strategy.predict(stream.test[0].x)[:, : task.seen]
            assert scores.isfinite().all(), name
        assert all(p.isfinite().all() for p in strategy.parameters()), name
        memory = getattr(strategy, "memory", None)
        if memory is not None and memory.policy != "reservoir":
            in_balance(memory, stream, name)


def in_balance(memory: Memory, stream: Stream, name: str) -> None:
    """Equally many of each class to within one, however often it has come; domains apart."""
    assert memory.stored == len(memory.labels), name
    sizes = Counter(memory.labels[: memory.stored].tolist()).values()
    if not stream.outline.shared:
        assert max(sizes) - min(sizes) <= 1 and len(sizes) == stream.outline.classes, name


def softmax_of(y: int, task: Task, stream: Stream) -> range:
    """The classes that compete for a sample of this class, by the scenario's rule."""
    if stream.outline.scenario == "task_incremental":
        return next(t.classes for t in stream.tasks if y in t.classes)
    return range(6 if task.shown > task.seen else task.seen)


@pytest.mark.parametrize("kind", ["blurry", "blurry tasks", "repeating", "repeating tasks"])
def test_a_sample_has_the_softmax_of_its_own_task(kind: str) -> None:
    """The loss, the exact Fisher information and MAS's importance against a loop over samples."""
    stream, network = stream_of(kind)
    strategy = shipped("finetune", network)
    for task in stream.tasks[:-1]:
        learn(strategy, stream, task, epochs=1)
    last = stream.tasks[-1] if kind.startswith("rep") else stream.tasks[1]
    if kind.startswith("rep"):
        network.grow(last)
    strategy.eval()
    samples = last.train
    assert len(samples.y.unique()) == 6
    loss, fisher, omega, batch = 0.0, 0.0, 0.0, []
    for x, y in zip(samples.x, samples.y.tolist(), strict=True):
        classes = softmax_of(y, last, stream)
        z = network(x[None])[0, classes.start : classes.stop]
        log_p = F.log_softmax(z, 0)
        loss -= log_p[y - classes.start].item() / len(samples)
        for c in range(len(z)):
            fisher = fisher + log_p[c].exp().item() * gradient(network, log_p[c]).square()
        omega = omega + gradient(network, z.square().sum()).abs()
        batch.append(z.square())
    ours = strategy.objective(next(iter(batches(samples, last, epoch=0, batch_size=len(samples)))))
    assert math.isclose(ours["task"].item(), loss, rel_tol=1e-5)
    exact = fisher_diagonal(network, samples, last, "exact", 10)
    torch.testing.assert_close(exact, fisher / len(samples), rtol=1e-3, atol=1e-7)
    torch.testing.assert_close(
        sensitivity(network, samples, last, 10), omega / len(samples), rtol=1e-3, atol=1e-6
    )
    whole = gradient(network, torch.cat(batch).mean()).abs()
    torch.testing.assert_close(
        batch_sensitivity(network, samples, last, len(samples)), whole, rtol=1e-3, atol=1e-6
    )


@pytest.mark.parametrize("estimator", ["sampled", "empirical", "predicted", "batch",
                                       "batch_all_pairs"])  # fmt: skip
def test_every_estimate_is_over_classes_that_compete(estimator: str) -> None:
    """Samples of the first task alone have the estimate that the first task would give them."""
    stream, network = stream_of("repeating tasks")
    for task in stream.tasks:
        network.grow(task)
    first, task = stream.tasks[:2]
    mine = task.train[task.train.y < 2]
    alone = replace(first, competing=None, index=task.index)
    assert len(mine) > 4 and task.candidates == range(2, 4)
    ours = fisher_diagonal(network, mine, task, estimator, 7)
    assert ours.any() and torch.equal(ours, fisher_diagonal(network, mine, alone, estimator, 7))


def gradient(network: Network, value: torch.Tensor) -> torch.Tensor:
    found = torch.autograd.grad(value, network.trainable, retain_graph=True, allow_unused=True,
                                materialize_grads=True)  # fmt: skip
    return torch.cat([g.flatten() for g in found])


@pytest.mark.parametrize("kind", ["blurry", "repeating"])
def test_icarl_holds_old_classes_by_the_network_before_and_others_by_labels(kind: str) -> None:
    stream, network = stream_of(kind)
    icarl, task = shipped("icarl", network), stream.tasks[1]
    learn(icarl, stream, stream.tasks[0], epochs=1)
    network.grow(task)
    batch = next(iter(batches(task.train, task, epoch=0, batch_size=len(task.train))))
    assert min(batch.y) < 2 and (max(batch.y) > 3) == (kind == "blurry")
    icarl.eval()
    z, before, total = network(batch.x), icarl.teacher(batch.x), 0.0
    for n, y in enumerate(batch.y.tolist()):
        for c in range(6 if kind == "blurry" else 4):
            q = torch.sigmoid(before[n, c]).item() if c < 2 else float(c == y)
            p = torch.sigmoid(z[n, c]).item()
            total -= (q * math.log(p) + (1 - q) * math.log(1 - p)) / len(batch.y)
    assert math.isclose(sum(icarl.objective(batch).values()).item(), total, rel_tol=1e-4)


def coming_back(index: int, labels: list[int], seed: int) -> Task:
    """Classes 0 and 1 belong to the first task, 2 and 3 to the second."""
    task = plain_task(index, labels, seed)
    ids = task.train.index + 100 * index  # the task's own
    images = task.train.images[:1].expand(300, *SHAPE)
    labels = torch.tensor(labels).repeat(3)[:300]
    stored = torch.zeros(300, dtype=torch.int64).index_copy(0, ids, labels[: len(ids)])
    train = replace(task.train, images=images, labels=stored, rows=ids)
    return replace(task, train=train, homes=torch.tensor([0, 0, 1, 1]))


def test_a_class_that_comes_back_is_kept_fairly() -> None:
    """Of 40 samples of class 0 and then 20 three are kept: each over 240 seeds 12 times, but for
    chance."""
    times, network = torch.zeros(300), tiny_network(4)
    for seed in range(240):
        memory = Memory(12, network, "class_balanced")
        memory.learn(coming_back(0, [0] * 40 + [1] * 20, seed), network)
        memory.learn(coming_back(1, [0] * 20 + [2] * 20 + [3] * 20, seed), network)
        held = memory.index[memory.labels == 0]
        assert Counter(memory.labels.tolist()) == dict.fromkeys(range(4), 3)
        assert len(held.unique()) == 3
        times[held] += 1
    first, then = times[:40], times[100:120]
    assert (first.sum(), then.sum()) == (2 * 240, 240)
    both = torch.cat([first, then])  # chi-square with 58 degrees of freedom
    assert ((both - 12) ** 2 / (12 * 0.95)).sum() < 97


def test_herding_ranks_stored_and_new_samples_together() -> None:
    """As one that sees them in a single task, as long as all of the first are still there."""
    stream, network = stream_of("repeating")
    task = stream.tasks[0]
    rows = torch.nonzero(task.train.y == 0).flatten()
    memory, whole = (Memory(n, network, "herding") for n in (len(rows), 6))
    network.grow(task)
    memory.learn(replace(task, train=task.train[rows[:5]]), network)
    memory.learn(replace(task, train=task.train[rows[5:]]), network)
    whole.learn(replace(task, train=task.train[rows]), network)
    assert memory.index[:6].tolist() == whole.index.tolist()
