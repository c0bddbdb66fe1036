"""The memory: its size, balance, no lost class, a uniform reservoir, exact state."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, chisquare
from tiny import SHAPE, first_batch, tiny_network, tiny_stream

from cl_runner.data.batches import Batch
from cl_runner.data.likelihood import CATEGORICAL
from cl_runner.data.samples import Pixels, Samples
from cl_runner.data.stream import Task
from cl_runner.strategies.parts.memory import Memory
from cl_runner.strategies.parts.selection import Balance, balanced_quotas, herding_order


def plain_task(index: int, labels: list[int], seed: int = 0) -> Task:
    """A task in which each pixel of picture n has the value n."""
    images = torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, *SHAPE)
    pixels = Pixels(mean=[0.0], std=[1.0], padding=0, crop_padding=0, flip=False, per_picture=False)
    samples = Samples(images, torch.tensor(labels), torch.arange(len(labels)), pixels)
    classes = range(max(labels) + 1)
    rest = {
        "born": classes,
        "candidates": classes,
        "old_groups": [],
        "competing": None,
        "homes": None,
        "likelihood": CATEGORICAL,
    }
    return Task(index, "", [], classes, 0, len(classes), len(classes), **rest, train=samples,
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
    length = math.sqrt(math.fsum(v * v for v in vector)) or 1.0
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


def test_herding_takes_a_sample_without_features_when_it_is_the_nearest() -> None:
    """All its features are 0, as those of a network with ReLU may be: no length to scale to one."""
    features = torch.tensor([[1.0, 0.0], [0.0, 0.0], [-1.0, 0.2], [-0.8, -0.7]])
    assert herding_order(features, 4).tolist() == [3, 1, 2, 0] == herded(features.tolist(), 4)
    assert herding_order(torch.zeros(3, 2), 3).tolist() == [0, 1, 2]


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
    one = memory.draw(batch, 8, "replay")
    torch.manual_seed(2)
    two = memory.draw(batch, 8, "replay")
    assert torch.equal(one.x, two.x) and torch.equal(one.y, two.y)
    assert one.task is batch.task
    later = replace(batch, position=(*batch.position[:-1], 1))
    assert not torch.equal(one.x, memory.draw(later, 8, "replay").x)


def test_a_draw_takes_each_stored_sample_as_often_as_any_other() -> None:
    stream, memory = tiny_stream(), Memory(10, tiny_network(), "class_balanced")
    memory.learn(stream.tasks[0], tiny_network())
    drawn = memory.draw(first_batch(stream, 1), 5000, "replay")
    stored = memory.samples(stream.tasks[1].train.pixels)
    counts = [(drawn.x == x).flatten(1).all(1).sum().item() for x in stored.x]
    assert len(counts) == 10 and sum(counts) == 5000
    assert chisquare(counts).pvalue > 1e-4


def test_without_replacement_no_sample_comes_twice_and_each_as_often_as_any_other() -> None:
    stream, memory = tiny_stream(), Memory(10, tiny_network(), "class_balanced")
    memory.learn(stream.tasks[0], tiny_network())
    batch, counts = first_batch(stream, 1), Counter()
    for step in range(600):
        drawn = memory.draw(replace(batch, position=(0, 1, 0, step)), 4, "replay", False)
        assert len(drawn.index.unique()) == 4
        counts.update(drawn.index.tolist())
    statistic = sum((n - 240) ** 2 for n in counts.values()) / (240 * 0.6)
    assert len(counts) == 10 and chi2.sf(statistic * 9 / 10, 9) > 1e-4
    assert sorted(memory.draw(batch, 50, "replay", False).index.tolist()) == sorted(counts)


def test_the_state_dict_is_the_whole_memory() -> None:
    stream, network = tiny_stream(), tiny_network()
    memory, copy = Memory(10, tiny_network(), "reservoir"), Memory(10, tiny_network(), "reservoir")
    memory.learn(stream.tasks[0], network)
    copy.load_state_dict(memory.state_dict())
    for one in (memory, copy):
        one.learn(stream.tasks[1], network)
    assert torch.equal(memory.images, copy.images) and memory.seen == copy.seen


def steps_of(labels: list[int], seed: int, size: int = 8) -> Iterator[Batch]:
    """A task's samples in the order given, in batches; picture number n is filled with n."""
    task = plain_task(0, labels, seed)
    for step, rows in enumerate(torch.arange(len(labels)).split(size)):
        chosen = task.train[rows]
        yield Batch(chosen.x, chosen.y, task, (seed, 0, 0, step), rows, chosen.raw)


def filled_by_steps(policy: str, size: int, labels: list[int], seed: int) -> Memory:
    memory = Memory(size, tiny_network(4), policy, {"double": ()})
    for batch in steps_of(labels, seed):
        memory.insert(batch, double=2.0 * batch.index)
    return memory


@settings(max_examples=40, deadline=None)
@given(
    st.integers(4, 20),
    st.sampled_from(["class_balanced", "reservoir"]),
    st.lists(st.integers(0, 3), min_size=1, max_size=60),
)
def test_filled_by_steps_it_holds_what_arrived_with_all_that_belongs_to_it(
    size: int, policy: str, labels: list[int]
) -> None:
    memory = filled_by_steps(policy, size, labels, seed=3)
    held = memory.index[: memory.stored].tolist()
    assert memory.stored == min(size, len(labels)) == len(set(held))
    assert memory.labels[: memory.stored].tolist() == [labels[row] for row in held]
    assert memory.images[: memory.stored, 0, 0, 0].tolist() == held
    assert memory.columns["double"][: memory.stored].tolist() == [2.0 * row for row in held]


def kept_of(policy: str, size: int, labels: list[int], repetitions: int) -> list[int]:
    """How often each sample is still there when all have arrived."""
    kept = Counter()
    for seed in range(repetitions):
        memory = filled_by_steps(policy, size, labels, seed)
        kept.update(memory.index[: memory.stored].tolist())
    return [kept[row] for row in range(len(labels))]


def test_a_reservoir_filled_by_steps_is_uniform() -> None:
    counts = kept_of("reservoir", 8, [0] * 40, repetitions=400)
    expected = 400 * 8 / 40
    statistic = sum((count - expected) ** 2 for count in counts) / (expected * (1 - 8 / 40))
    assert chi2.sf(statistic * 39 / 40, 39) > 1e-4


def test_balanced_by_steps_each_class_has_its_share_and_each_of_its_samples_the_same_chance() -> (
    None
):
    """Of classes that are 30, 20, 12 and 4 of the stream, in any order."""
    labels = [0] * 30 + [1] * 20 + [2] * 12 + [3] * 4
    random.Random(5).shuffle(labels)
    memory = filled_by_steps("class_balanced", 16, labels, seed=0)
    assert torch.bincount(memory.labels).tolist() == [4, 4, 4, 4]
    counts = kept_of("class_balanced", 8, labels, repetitions=400)
    for label in range(4):
        mine = [count for count, of in zip(counts, labels, strict=True) if of == label]
        share = sum(mine) / len(mine) / 400
        statistic = sum((n - share * 400) ** 2 for n in mine) / (share * (1 - share) * 400 + 1e-9)
        freedom = max(1, len(mine) - 1)
        assert chi2.sf(statistic * freedom / len(mine), freedom) > 1e-4, label


def test_balanced_by_steps_is_algorithm_1_of_chrysakis_and_moens() -> None:
    """Against the algorithm as it is printed, line by line, with the same chances."""
    draw = random.Random(1)
    labels = [draw.choice([0, 0, 0, 1, 1, 2]) for _ in range(200)]
    chances = [draw.random() for _ in labels]
    stored: list[tuple[int, int]] = []  # class, arrival
    full, stream = set(), Counter()
    for arrival, (c, u) in enumerate(zip(labels, chances, strict=True)):
        stream[c] += 1
        if len(stored) < 10:
            stored.append((c, arrival))
            continue
        counts = Counter(k for k, _ in stored)
        full |= {k for k, n in counts.items() if n == max(counts.values())}
        if c not in full:
            places = [i for i, (k, _) in enumerate(stored) if counts[k] == max(counts.values())]
            stored[places[int(u * len(places))]] = (c, arrival)
        elif u < counts[c] / stream[c]:
            places = [i for i, (k, _) in enumerate(stored) if k == c]
            stored[places[int(u * stream[c])]] = (c, arrival)
    balance, held, ours = Balance(), [], {}
    for start in range(0, 200, 7):
        part = slice(start, start + 7)
        winners = balance.places(held, 10, chances[part], labels[part])
        ours |= {slot: start + row for slot, row in winners.items()}
        balance = Balance.of(balance.state())
    assert [(labels[ours[slot]], ours[slot]) for slot in range(10)] == stored


def test_columns_filled_by_the_task_follow_their_samples() -> None:
    stream, network = tiny_stream(), tiny_network()
    memory = Memory(7, network, "class_balanced", {"mean": (1,)})
    for task in stream.tasks:
        memory.learn(task, network, lambda s: {"mean": s.raw.float().mean((1, 2, 3))[:, None]})
    assert torch.equal(memory.columns["mean"][:, 0], memory.images.float().mean((1, 2, 3)))
    again = memory.among(stream.tasks[0].train)
    assert torch.equal(again.raw, memory.images) and torch.equal(again.y, memory.labels)


def test_draws_for_two_purposes_in_one_step_are_independent() -> None:
    """Over many steps each pair of slots is drawn as often as any other."""
    stream, memory = tiny_stream(), Memory(6, tiny_network(), "class_balanced")
    memory.learn(stream.tasks[0], tiny_network())
    slot_of = {row: slot for slot, row in enumerate(memory.index.tolist())}
    table = np.zeros((6, 6))
    batch = first_batch(stream, 1)
    for step in range(300):
        here = replace(batch, position=(0, 1, 0, step))
        one, two = (memory.draw(here, 6, purpose).index.tolist() for purpose in ("one", "two"))
        for a, b in zip(one, two, strict=True):
            table[slot_of[a], slot_of[b]] += 1
    assert chisquare(table.flatten()).pvalue > 1e-4


def test_a_memory_refuses_what_it_has_no_place_for() -> None:
    batch = next(steps_of([0, 1], seed=0))
    with pytest.raises(ValueError, match="nothing is stored yet"):
        Memory(6, tiny_network(), "reservoir").draw(batch, 2, "replay")
    with pytest.raises(ValueError, match="cannot take in"):
        Memory(6, tiny_network(), "reservoir").insert(batch, logits=batch.x)
    with pytest.raises(ValueError, match="cannot take in"):
        Memory(6, tiny_network(), "herding").insert(batch)
