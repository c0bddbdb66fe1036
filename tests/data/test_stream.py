"""Cutting data into tasks: classes, labels, competition, validation split."""

from __future__ import annotations

import gzip
from importlib.resources import files
from itertools import chain, permutations, product
from pathlib import Path

import pytest
import torch
from running import composed
from tiny import tiny_stream

from cl_runner.data.batches import batches
from cl_runner.data.cuts import ByClass, ByPermutation, BySource
from cl_runner.data.samples import Pixels
from cl_runner.data.source import Split, read
from cl_runner.errors import ConfigError, DataError
from cl_runner.randomness import draws


class Numbered:
    """A source whose pictures encode their label, split and number."""

    def __init__(self, classes: int = 6, per_class: int = 30, name: str = "numbered") -> None:
        self.name, self.classes, self.per_class = name, classes, per_class
        self.shape = (1, 2, 2)

    def load(self, root: str) -> tuple[Split, Split]:
        return self._split(0), self._split(100)

    def _split(self, which: int) -> Split:
        labels = torch.arange(self.classes).repeat(self.per_class)
        number = torch.arange(len(labels)) // self.classes
        images = torch.stack([labels, torch.full_like(labels, which), number, 0 * labels], 1)
        return Split(images.view(-1, 1, 2, 2).to(torch.uint8), labels, number // 10)


PIXELS = Pixels(mean=[0.0], std=[1.0], padding=0, crop_padding=0, flip=False, per_picture=False)


def by_class(**changed: object) -> ByClass:
    settings = {
        "source": Numbered(),
        "root": "",
        "scenario": "class_incremental",
        "tasks": 3,
        "classes_per_task": 2,
        "class_order": "numeric",
        "class_order_seed": None,
        "samples_per_task": None,
        "blurry": 0.0,
        "repetition": 0.0,
        "validation_fraction": 0.0,
        "pixels": PIXELS,
    }
    return ByClass(**{**settings, **changed})


def load(cut: ByClass | ByPermutation | BySource, seed: int = 0, scope: str = "seen"):
    return cut.load(seed=seed, scope=scope, device="cpu")


# These orders are not their own inverse, so confusing a map with its inverse would be seen.
@pytest.mark.parametrize("order", [[1, 2, 0, 4, 5, 3], [5, 0, 3, 1, 4, 2], "random", "numeric"])
@pytest.mark.parametrize("sizes", [2, [1, 2, 3]])
def test_classes_are_numbered_as_the_stream_shows_them(order: object, sizes: object) -> None:
    stream = load(by_class(class_order=order, classes_per_task=sizes))
    shown = [label for task in stream.tasks for label in task.labels]
    assert isinstance(order, str) or shown == order
    for task, test in zip(stream.tasks, stream.test, strict=True):
        for samples, which in ((task.train, 0), (test, 100)):
            pictured = samples.raw[:, 0, 0, 0].tolist()  # the data set's own label
            assert pictured == [shown[number] for number in samples.y.tolist()]
            assert set(samples.y.tolist()) == set(task.classes)
            assert (samples.raw[:, 0, 0, 1] == which).all()
            assert len(samples) == 30 * len(task.classes)
    assert [t.old for t in stream.tasks] == [t.classes.start for t in stream.tasks]
    assert [t.seen for t in stream.tasks] == [t.classes.stop for t in stream.tasks]


def test_a_random_order_is_drawn_from_the_seed() -> None:
    cut = by_class(class_order="random")
    orders = [cut.outline(seed).labels for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(chain(*orders[2])) == list(range(6))


def test_a_random_order_may_have_a_seed_of_its_own() -> None:
    """Another for each seed, one for all seeds, or varied alone; training draws by the run's."""
    each = [by_class(class_order="random").outline(seed).labels for seed in range(4)]
    for own, order in enumerate(each):
        streams = [load(by_class(class_order="random", class_order_seed=own), s) for s in (0, 7)]
        assert [stream.outline.labels for stream in streams] == [order, order]
        (a, b) = (stream.tasks[0] for stream in streams)
        assert torch.equal(a.train.raw, b.train.raw) and (a.seed, b.seed) == (0, 7)
    drawn = [
        tuple(chain(*by_class(class_order="random", class_order_seed=own).outline(0).labels))
        for own in range(600)
    ]
    for place in range(6):  # each class as often in each place: chi-square, 5 degrees of freedom
        counts = torch.tensor([sum(order[place] == label for order in drawn) for label in range(6)])
        assert ((counts - 100) ** 2 / 100).sum() < 20.5
    assert len(set(drawn)) > 350  # of 720; 407 are expected


def test_domain_incremental_numbers_labels_within_the_task() -> None:
    stream = load(by_class(scenario="domain_incremental"))
    for task in stream.tasks:
        assert set(task.train.y.tolist()) == {0, 1}
        assert (task.train.raw[:, 0, 0, 0] == task.train.y + 2 * task.index).all()
        assert task.old == (0 if task.first else 2)


@pytest.mark.parametrize(
    ("scenario", "scope", "expected"),
    [
        ("class_incremental", "seen", [range(0, 2), range(0, 4), range(0, 6)]),
        ("class_incremental", "new", [range(0, 2), range(2, 4), range(4, 6)]),
        ("class_incremental", "all", [range(0, 6)] * 3),
        ("task_incremental", "seen", [range(0, 2), range(2, 4), range(4, 6)]),
        ("domain_incremental", "seen", [range(0, 2)] * 3),
    ],
)
def test_which_classes_compete_for_a_new_sample(scenario, scope, expected) -> None:
    assert [t.candidates for t in tiny_stream(scenario, scope).tasks] == expected


def test_rows_are_born_once_each() -> None:
    for scope in ("seen", "new", "all"):
        born = [list(task.born) for task in tiny_stream(scope=scope).tasks]
        assert sorted(chain(*born)) == list(range(6))
    assert [len(t.born) for t in tiny_stream("domain_incremental").tasks] == [2, 0, 0]


@pytest.mark.parametrize("fraction", [0.1, 0.34, 0.5])
def test_validation_takes_whole_groups_of_each_class(fraction: float) -> None:
    parts = {}
    for seed in (0, 1):
        stream = load(by_class(validation_fraction=fraction), seed)
        for task in stream.tasks:
            kept, held = set(task.train.index.tolist()), set(task.validation.index.tolist())
            assert not kept & held
            assert len(kept) + len(held) == 60
            for label in task.classes:
                mine = task.validation[task.validation.y == label]
                groups = mine.raw[:, 0, 1, 0] // 10
                assert all((groups == g).sum() == 10 for g in groups.unique())
                assert round(fraction * 30) <= len(mine) < round(fraction * 30) + 10
            parts[seed, task.index] = held
    assert all(parts[0, t] == parts[1, t] for t in range(3))  # runs are selected on the same data


def test_permutations_move_all_pictures_alike() -> None:
    source = Numbered()
    common = {
        "source": source,
        "root": "",
        "validation_fraction": 0.0,
        "samples_per_task": None,
        "blurry": 0.0,
        "repetition": 0.0,
    }
    common["pixels"] = PIXELS
    cut = ByPermutation(scenario="domain_incremental", tasks=4, permute_first=False, **common)
    original = source.load("")[0].images.flatten(1)
    orders = []
    for task in load(cut).tasks:
        fitting = [
            p
            for p in permutations(range(4))
            if torch.equal(original[:, list(p)], task.train.raw.flatten(1))
        ]
        assert fitting
        orders.append(set(fitting))
    assert (0, 1, 2, 3) in orders[0]  # the first task is the data set itself
    assert any((0, 1, 2, 3) not in order for order in orders[1:])
    assert len({frozenset(order) for order in orders}) > 2  # each task has its own
    assert torch.equal(load(cut).tasks[2].train.raw, load(cut).tasks[2].train.raw)


@pytest.mark.parametrize(
    ("scenario", "starts"), [("domain_incremental", [0, 0]), ("class_incremental", [0, 6])]
)
def test_one_data_set_after_another(scenario: str, starts: list[int]) -> None:
    sources = [Numbered(), Numbered(per_class=20, name="other")]
    cut = BySource(
        sources=sources,
        root="",
        scenario=scenario,
        samples_per_task=None,
        blurry=0.0,
        repetition=0.0,
        validation_fraction=0.0,
        pixels=PIXELS,
    )
    stream = load(cut)
    assert [len(t.train) for t in stream.tasks] == [180, 120]
    for task, start in zip(stream.tasks, starts, strict=True):
        assert torch.equal(task.train.y - start, task.train.raw[:, 0, 0, 0].long())


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"class_order": [0, 0, 1, 2, 3, 4]}, "more than once"),
        ({"class_order": [0, 1, 2, 3, 4, 99]}, "outside 0 … 5"),
        ({"class_order": [0, 1, 2]}, "lists 3 classes"),
        ({"class_order_seed": 0}, "class_order_seed=0: has no effect with class_order=numeric"),
        ({"class_order": [5, 4, 3, 2, 1, 0], "class_order_seed": 3}, r"class_order=\[5, 4"),
        ({"tasks": 4}, "numbered has 6"),
        ({"tasks": 2, "classes_per_task": [1, 2, 3]}, "at most one per task"),
        (
            {"scenario": "domain_incremental", "classes_per_task": [1, 2, 3]},
            "the same number of classes",
        ),
    ],
)
def test_a_cut_that_cannot_be_made_is_a_config_error(changed: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        by_class(**changed)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda s: Split(s.images, s.labels[:-1]), "180 pictures but 179 labels"),
        (lambda s: Split(s.images.float(), s.labels), "torch.float32"),
        (lambda s: Split(s.images, s.labels.clone().fill_(6)), "label 6 of sample 0"),
        (lambda s: Split(s.images, s.labels - 1), "label -1 of sample 0"),
        (lambda s: Split(s.images, s.labels.float()), "labels are torch.float32"),
    ],
)
def test_inconsistent_data_is_told(damage, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Numbered()
    good = source.load("")
    monkeypatch.setattr(source, "load", lambda root: (good[0], damage(good[1])))
    with pytest.raises(DataError, match=words):
        read(source, "")


def test_a_class_without_samples_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Numbered()
    train, test = source.load("")
    less = Split(test.images[test.labels != 3], test.labels[test.labels != 3])
    monkeypatch.setattr(source, "load", lambda root: (train, less))
    with pytest.raises(DataError, match=r"task 2 .* has no test sample of class 3"):
        load(by_class(source=source))


def test_every_sample_comes_once_an_epoch_in_an_order_of_its_own() -> None:
    task = tiny_stream().tasks[0]
    orders = []
    for epoch in (0, 1):
        seen = torch.cat([b.x for b in batches(task.train, task, epoch=epoch, batch_size=7)])
        assert len(seen) == len(task.train)
        assert torch.equal(
            seen.flatten(1).sum(1).sort().values, task.train.x.flatten(1).sum(1).sort().values
        )
        orders.append(seen)
    assert not torch.equal(*orders)


@pytest.mark.parametrize("batch_size", [1, 7, 200])
def test_batches_prepared_together_are_those_prepared_one_by_one(batch_size: int) -> None:
    task = tiny_stream(samples=200, crop_padding=1, flip=True).tasks[1]
    train, position = task.train, (task.seed, task.index, 1)
    numbers = []
    for step, batch in enumerate(batches(train, task, epoch=1, batch_size=batch_size)):
        raw = train.images[batch.index]
        assert torch.equal(batch.raw, raw)
        assert torch.equal(batch.x, train.pixels.augmented(raw, batch.index, *position))
        assert torch.equal(batch.y, train.labels[batch.index])
        assert batch.position == (*position, step)
        numbers.append(batch.index)
    assert {len(n) for n in numbers[:-1]} <= {batch_size}
    assert torch.equal(torch.cat(numbers).sort().values, train.index.sort().values)
    steps = len(numbers)
    assert not list(batches(train, task, epoch=1, batch_size=batch_size, first_step=steps))


def test_an_epoch_can_begin_at_any_step_with_the_same_batches() -> None:
    task = tiny_stream(crop_padding=1, flip=True).tasks[0]
    whole = list(batches(task.train, task, epoch=1, batch_size=7))
    for first in (0, 1, 5, len(whole) - 1, len(whole)):
        rest = list(batches(task.train, task, epoch=1, batch_size=7, first_step=first))
        assert len(rest) == len(whole) - first
        for a, b in zip(rest, whole[first:], strict=True):
            assert torch.equal(a.x, b.x) and a.position == b.position


def test_a_sample_is_augmented_alike_whatever_stands_beside_it() -> None:
    pixels = Pixels(mean=[0.0], std=[1.0], padding=0, crop_padding=2, flip=True, per_picture=False)
    images = torch.randint(0, 256, (50, 3, 8, 8), dtype=torch.uint8)
    ids = torch.arange(100, 150)
    whole = pixels.augmented(images, ids, 0, 1, 2)
    for rows in ([3], [49, 0, 3], list(range(50))[::-1]):
        assert torch.equal(pixels.augmented(images[rows], ids[rows], 0, 1, 2), whole[rows])
    assert not torch.equal(pixels.augmented(images, ids, 0, 1, 3), whole)
    found = [_how_moved(a.float() / 255, b) for a, b in zip(images, whole, strict=True)]
    rows, columns, mirrored = map(set, zip(*found, strict=True))
    assert rows == columns == set(range(5)) and mirrored == {True, False}


def _how_moved(picture: torch.Tensor, moved: torch.Tensor) -> tuple[int, int, bool]:
    """The corner of the crop in the padded picture, and whether it is mirrored."""
    padded = torch.nn.functional.pad(picture, [2] * 4)
    (way,) = [
        (i, j, mirrored)
        for i, j, mirrored in product(range(5), range(5), (True, False))
        if torch.allclose(padded[:, i : i + 8, j : j + 8], moved.flip(-1) if mirrored else moved)
    ]
    return way


def test_draws_are_uniform() -> None:
    found = draws(5, torch.arange(20_000), 2) % 10
    counts = torch.bincount(found.flatten(), minlength=10).double()
    assert ((counts - 4000) ** 2 / 4000).sum() < 40  # chi-square with 9 degrees of freedom
    assert torch.corrcoef(found.double().T)[0, 1].abs() < 0.03


def test_the_digits_are_those_of_scikit_learn() -> None:
    """Each picture with its label, in the order of scikit-learn's table."""
    table = files("sklearn.datasets.data") / "digits.csv.gz"
    with table.open("rb") as packed:
        rows = [row.split(",") for row in gzip.decompress(packed.read()).decode().split()]
    expected = [(*(round(255 / 16 * float(v)) for v in row[:64]), int(float(row[64])))
                for row in rows]  # fmt: skip
    stream = composed("dataset=digits").dataset.load(seed=0, scope="seen", device="cpu")
    parts = [*(task.train for task in stream.tasks), *stream.test]
    found = [(*picture.flatten().tolist(), label) for samples in parts
             for picture, label in zip(samples.raw, samples.y.tolist(), strict=True)]  # fmt: skip
    assert len(found) == 1797 and sorted(found) == sorted(expected)
    assert not Path("data").exists()


def test_random_training_samples_are_drawn_for_a_purpose_without_replacement() -> None:
    task = tiny_stream().tasks[1]
    some, again, other = (
        task.random_training_samples(20, purpose).index.tolist() for purpose in ("a", "a", "b")
    )
    assert some == again != other and len(set(some)) == 20
    assert set(some) <= set(task.train.index.tolist()) and some != task.train.index[:20].tolist()
    assert set(task.train.labels[some].tolist()) == {2, 3}
    everything = task.random_training_samples(None, "a").index.tolist()
    assert sorted(everything) == task.train.index.tolist() != everything


def test_pictures_standardised_by_themselves_look_alike_in_any_light() -> None:
    """Mean 0 and deviation 1 each; a darker copy is the same picture; a plain one is zero."""
    pixels = Pixels(mean=[0.0], std=[1.0], padding=0, crop_padding=0, flip=False, per_picture=True)
    bright = torch.randint(100, 200, (5, 3, 8, 8), generator=torch.manual_seed(0))
    bright = (bright // 2 * 2).to(torch.uint8)
    seen, darker = pixels(bright), pixels(bright // 2)
    torch.testing.assert_close(seen.flatten(1).mean(1), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(seen.flatten(1).std(1), torch.ones(5))
    torch.testing.assert_close(seen, darker)
    assert not pixels(torch.full((1, 1, 4, 4), 7, dtype=torch.uint8)).any()
