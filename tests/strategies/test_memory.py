"""The memory: its size, balance, no lost class, a uniform reservoir, exact state."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, chisquare
from tiny import SHAPE, first_batch, tiny_network, tiny_stream

from cl_runner.data.likelihood import CATEGORICAL
from cl_runner.data.samples import Pixels, Samples
from cl_runner.data.stream import Task
from cl_runner.strategies.parts.memory import Memory, balanced_quotas, herding_order


def plain_task(index: int, labels: list[int], seed: int = 0) -> Task:
    """A task in which each pixel of picture n has the value n."""
    images = torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, *SHAPE)
    pixels = Pixels(mean=[0.0], std=[1.0], crop_padding=0, flip=False, per_picture=False)
    samples = Samples(images, torch.tensor(labels), torch.arange(len(labels)), pixels)
    classes = range(max(labels) + 1)
    rest = {
        "born": classes,
        "candidates": classes,
        "old_groups": [],
        "competing": None,
        "likelihood": CATEGORICAL,
    }
    return Task(index, "", [], classes, 0, len(classes), **rest, train=samples,
                validation=samples, seed=seed)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 30),
    st.sampled_from(["class_balanced", "herding", "reservoir"]),
    st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=40), min_size=1, max_size=4),
)
def test_never_too_large_nothing_invented_nothing_twice(
    size: int, policy: str, tasks: list[list[int]]
) -> None:
    memory, network = Memory(size, tiny_network(2), policy), tiny_network(10)
    arrived: set[tuple[int, int, int]] = set()
    for index, labels in enumerate(tasks):
        memory.learn(plain_task(index, labels), network)
        arrived |= {(index, label, picture) for picture, label in enumerate(labels)}
        held = [
            (int(group) >> 32, int(label), int(image.flatten()[0]))
            for group, label, image in zip(memory.groups, memory.labels, memory.images, strict=True)
        ][: memory.stored]
        assert memory.stored <= size
        assert len(set(held)) == len(held)
        assert set(held) <= arrived
        assert memory.stored == min(size, len(arrived))


@pytest.mark.parametrize("policy", ["class_balanced", "herding"])
@pytest.mark.parametrize("size", [6, 7, 20, 29])
def test_balanced_to_within_one_and_no_class_lost(policy: str, size: int) -> None:
    stream, network = tiny_stream(), tiny_network()
    memory = Memory(size, network, policy)
    for task in stream.tasks:
        network.grow(task)
        memory.learn(task, network)
        counts = torch.bincount(memory.labels[: memory.stored], minlength=task.seen)
        assert len(counts) == task.seen
        assert counts.max() - counts.min() <= 1
        assert counts.min() >= 1
        assert counts.sum() == size


@given(st.dictionaries(st.integers(0, 20), st.integers(0, 50), min_size=1), st.integers(0, 200))
def test_quotas_leave_no_slot_empty_that_could_be_filled(
    counts: dict[int, int], capacity: int
) -> None:
    quotas = balanced_quotas(counts, capacity)
    assert sum(quotas.values()) == min(capacity, sum(counts.values()))
    assert all(quotas[g] <= counts[g] for g in counts)
    short = [quotas[g] for g in counts if quotas[g] < counts[g]]
    assert not short or max(quotas.values()) - min(short) <= 1


def test_a_class_of_another_domain_counts_apart() -> None:
    stream, network = tiny_stream("domain_incremental"), tiny_network(2)
    memory = Memory(12, tiny_network(), "class_balanced")
    for task in stream.tasks:
        memory.learn(task, network)
    assert sorted(torch.unique(memory.groups, return_counts=True)[1].tolist()) == [2] * 6


def reservoir_p_value(off_by_one: bool, monkeypatch: pytest.MonkeyPatch) -> float:
    """Chi-square test that each of 40 samples, in four tasks, is kept with the same frequency."""
    n, k, repetitions = 40, 10, 2000
    if off_by_one:
        rand = torch.rand
        monkeypatch.setattr(
            torch, "rand", lambda m, **kw: rand(m, **kw) * (1 - 1 / torch.arange(1, m + 1).clamp(2))
        )
    network, counts = tiny_network(), np.zeros(n)
    for seed in range(repetitions):
        memory = Memory(k, network, "reservoir")
        for index in range(4):
            memory.learn(plain_task(index, [0] * (n // 4), seed), network)
        held = memory.images[:, 0, 0, 0] + (memory.groups >> 32) * (n // 4)
        counts[held.numpy()] += 1
    expected = repetitions * k / n
    statistic = ((counts - expected) ** 2).sum() / (expected * (1 - k / n)) * (n - 1) / n
    return float(chi2.sf(statistic, n - 1))


def test_the_reservoir_is_uniform(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reservoir_p_value(False, monkeypatch) > 1e-4


def test_the_uniformity_test_would_see_an_off_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reservoir_p_value(True, monkeypatch) < 1e-6


def of_length_one(vector: list[float]) -> list[float]:
    length = math.sqrt(math.fsum(v * v for v in vector))
    return [v / length for v in vector]


def mean_of(vectors: list[list[float]], renormalised: bool = True) -> list[float]:
    mean = [math.fsum(column) / len(vectors) for column in zip(*vectors, strict=True)]
    return of_length_one(mean) if renormalised else mean


def herded(features: list[list[float]], count: int, renormalised: bool = True) -> list[int]:
    """Algorithm 4 of Rebuffi et al. (2017) in plain Python, where a float is a double."""
    features = [of_length_one(vector) for vector in features]
    mu, chosen = mean_of(features, renormalised), []
    for _ in range(count):
        distances = {
            i: math.dist(mu, mean_of([features[j] for j in [*chosen, i]], renormalised))
            for i in range(len(features))
            if i not in chosen
        }
        chosen.append(min(distances, key=distances.__getitem__))
    return chosen


@pytest.mark.parametrize("seed", range(5))
def test_herding_is_the_papers_algorithm_4(seed: int) -> None:
    """Features of very different lengths, so that a missing normalization shows."""
    draw = torch.Generator().manual_seed(seed)
    lengths = 10 ** (4 * torch.rand(30, 1, generator=draw) - 2)
    features = lengths * torch.randn(30, 4, generator=draw).relu().add(0.01)
    assert herding_order(features, 30).tolist() == herded(features.tolist(), 30)


def test_the_means_are_of_length_one_too() -> None:
    """Without that the order differs, so the test above cannot pass by chance."""
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(30, 4, generator=draw).relu().add(0.01)
    assert herding_order(features, 30).tolist() != herded(features.tolist(), 30, False)


def test_the_memory_keeps_the_herded_samples_of_each_class_in_their_order() -> None:
    stream, network = tiny_stream(), tiny_network(batch_norm=True)
    memory = Memory(12, network, "herding")
    network.grow(stream.tasks[0])
    network.train()
    network(stream.tasks[0].train.x)  # statistics that are not the first ones
    memory.learn(stream.tasks[0], network)
    assert network.training
    train = stream.tasks[0].train
    network.eval()
    for label in (0, 1):
        mine = train[torch.nonzero(train.y == label).flatten()]
        expected = mine.raw[herded(network.features(mine.x).tolist(), 6)]
        assert torch.equal(memory.images[memory.labels == label], expected)


@pytest.mark.parametrize("augmented", [True, False])
def test_a_draw_is_a_function_of_the_position_alone(augmented: bool) -> None:
    stream, network = tiny_stream(crop_padding=int(augmented), flip=augmented), tiny_network()
    memory = Memory(10, tiny_network(), "class_balanced")
    memory.learn(stream.tasks[0], network)
    batch = first_batch(stream, 1)
    torch.manual_seed(1)
    one = memory.draw(batch, 8)
    torch.manual_seed(2)
    two = memory.draw(batch, 8)
    assert torch.equal(one.x, two.x) and torch.equal(one.y, two.y)
    assert one.task is batch.task
    later = type(batch)(batch.x, batch.y, batch.task, (*batch.position[:-1], 1))
    assert not torch.equal(one.x, memory.draw(later, 8).x)


def test_a_draw_takes_each_stored_sample_as_often_as_any_other() -> None:
    stream, memory = tiny_stream(), Memory(10, tiny_network(), "class_balanced")
    memory.learn(stream.tasks[0], tiny_network())
    drawn = memory.draw(first_batch(stream, 1), 5000)
    stored = memory.samples(stream.tasks[1].train.pixels)
    counts = [(drawn.x == x).flatten(1).all(1).sum().item() for x in stored.x]
    assert len(counts) == 10 and sum(counts) == 5000
    assert chisquare(counts).pvalue > 1e-4


def test_the_state_dict_is_the_whole_memory() -> None:
    stream, network = tiny_stream(), tiny_network()
    memory, copy = Memory(10, tiny_network(), "reservoir"), Memory(10, tiny_network(), "reservoir")
    memory.learn(stream.tasks[0], network)
    copy.load_state_dict(memory.state_dict())
    for one in (memory, copy):
        one.learn(stream.tasks[1], network)
    assert torch.equal(memory.images, copy.images) and memory.seen == copy.seen
