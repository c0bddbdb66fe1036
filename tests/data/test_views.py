"""Tasks that see the same pictures in ways of their own: as if each had a copy, which none has."""

from __future__ import annotations

import gc
from dataclasses import replace

import pytest
import torch
from running import composed
from torchvision.transforms.functional import InterpolationMode, rotate

from cl_runner.data import cuts
from cl_runner.data.assemble import Cut, assemble
from cl_runner.data.batches import batches
from cl_runner.data.cuts import ByPermutation
from cl_runner.data.rotation import ByRotation, rotations
from cl_runner.data.samples import Pixels, digest_of
from cl_runner.data.source import Split
from cl_runner.data.stream import Stream
from cl_runner.errors import ConfigError
from cl_runner.randomness import generator

SIDES = 6
TASKS = 4


class Noise:
    """Coloured noise of three classes, in groups of five."""

    name, classes, shape = "noise", 3, (2, SIDES, SIDES)

    def load(self, root: str) -> tuple[Split, Split]:
        return self._split(90, 0), self._split(30, 1)

    def _split(self, size: int, seed: int) -> Split:
        draw = torch.Generator().manual_seed(seed)
        images = torch.randint(0, 256, (size, *self.shape), dtype=torch.uint8, generator=draw)
        return Split(images, torch.arange(size) % 3, torch.arange(size) // 5)


def settings(scenario: str, *, padding: int = 0, **changed: object) -> dict:
    pixels = Pixels(
        mean=[0.3], std=[0.6], padding=padding, crop_padding=1, flip=True, per_picture=False
    )
    return {"source": Noise(), "root": "", "scenario": scenario, "tasks": TASKS, "pixels": pixels,
            "samples_per_task": None, "validation_fraction": 0.2, "blurry": 0.0,
            "repetition": 0.0, **changed}  # fmt: skip


def permuted(scenario: str, *, permute_first: bool = False, **changed: object) -> ByPermutation:
    return ByPermutation(permute_first=permute_first, **settings(scenario, **changed))


def rotated(angles: object, tasks: int, *, rotate_first: bool = False) -> ByRotation:
    common = settings("class_incremental", tasks=tasks)
    return ByRotation(angles=angles, rotate_first=rotate_first, interpolation="nearest", **common)


def with_a_copy_a_task(cut: ByPermutation, seed: int) -> Stream:
    """The stream with all pictures of all tasks one behind the other, permuted one by one."""
    outline = cut.outline(seed)
    sides = []
    for split in Noise().load(""):
        images, labels, tasks, groups = [], [], [], []
        for t, numbers in enumerate(outline.ranges()):
            order = torch.randperm(SIDES**2, generator=generator(seed, t, "permutation"))
            order = torch.arange(SIDES**2) if t == 0 and not cut.permute_first else order
            for picture in split.images:
                moved = [[colour.flatten()[i] for i in order.tolist()] for colour in picture]
                images.append(torch.tensor(moved, dtype=torch.uint8).view(picture.shape))
            labels.append(split.labels + numbers.start)
            tasks.append(torch.full_like(split.labels, t))
            groups.append(split.groups)
        cat = torch.cat
        sides.append(Cut(torch.stack(images), cat(labels), cat(tasks), cat(groups)))
    return assemble(outline, *sides, cut.pixels, scope="seen", seed=seed, device="cpu")


@pytest.mark.parametrize(
    ("scenario", "first"),
    [
        ("domain_incremental", True),
        ("domain_incremental", False),
        ("class_incremental", False),
        ("task_incremental", True),
    ],
)
def test_a_view_is_as_good_as_a_copy(scenario: str, first: bool) -> None:
    """Ids, labels, pictures, the validation split, digests, and batches of one task and of all."""
    cut = permuted(scenario, permute_first=first)
    ours = cut.load(seed=3, scope="seen", device="cpu")
    copied = with_a_copy_a_task(cut, 3)
    for a, b in zip(ours.tasks, copied.tasks, strict=True):
        for mine, its in ((a.train, b.train), (a.validation, b.validation)):
            assert torch.equal(mine.index, its.index) and torch.equal(mine.y, its.y)
            assert torch.equal(mine.raw, its.raw) and torch.equal(mine.x, its.x)
        assert len(a.validation) > 0 and a.candidates == b.candidates
    for mine, its in zip(ours.test, copied.test, strict=True):
        assert torch.equal(mine.raw, its.raw) and digest_of(mine) == digest_of(its)
    # All tasks at once, as joint training has them: each batch mixes views.
    mixed, expected = (
        s.tasks[0].train + s.tasks[2].train + s.tasks[3].train for s in (ours, copied)
    )
    last = ours.tasks[3]
    for samples, copies in ((last.train, copied.tasks[3].train), (mixed, expected)):
        pairs = zip(
            batches(samples, last, epoch=1, batch_size=7),
            batches(copies, last, epoch=1, batch_size=7),
            strict=True,
        )
        for one, other in pairs:
            assert torch.equal(one.x, other.x) and torch.equal(one.y, other.y)
    assert digest_of(mixed, last.train) == digest_of(expected, copied.tasks[3].train)


def bytes_of(stream: Stream) -> int:
    """Of all tensors that are held for as long as the stream is."""
    gc.collect()
    storages = {}
    left, seen = [stream], set()
    while left:
        item = left.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, torch.Tensor):
            storages[item.untyped_storage().data_ptr()] = item.untyped_storage().nbytes()
        elif isinstance(item, dict):
            left += item.values()
        elif isinstance(item, list | tuple):
            left += item
        elif type(item).__module__.startswith("cl_runner.data"):
            left += vars(item).values()
    return sum(storages.values())


@pytest.mark.parametrize("padding", [0, 2])
def test_fifty_tasks_hold_the_pictures_once(padding: int) -> None:
    changed = {"padding": padding, "validation_fraction": 0.0}
    one, fifty = (
        bytes_of(
            permuted("domain_incremental", tasks=tasks, **changed).load(
                seed=0, scope="seen", device="cpu"
            )
        )
        for tasks in (1, 50)
    )
    pixels = (SIDES + 2 * padding) ** 2
    an_order = 8 * (pixels + 2)  # and where its classes begin, in both splits
    assert one > 120 * 2 * pixels  # it sees the pictures
    assert fifty - one == 49 * an_order


def test_tasks_that_are_too_many_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test sample is predicted after each task: what grows with the square of the tasks."""
    cut = permuted("domain_incremental", tasks=50)
    refused = []
    monkeypatch.setattr(cuts, "refuse_too_large", lambda *what: refused.append(what))
    cut.load(seed=0, scope="seen", device="cpu")
    assert refused == [("dataset.tasks", 50, 2 * sum(30 * (t + 1) for t in range(50)))]


ANGLES = [0, 90, -90, 180, 270, 360, 12.5, 45, 61, 100.1, 179, -33.3, 500]


@pytest.mark.parametrize("size", [(28, 28), (5, 8), (7, 7)])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_pictures_are_turned_as_torchvision_turns_them(size, interpolation: str) -> None:
    """Which computes in single precision, so that a mean of pixels may be rounded otherwise."""
    pictures = torch.randint(
        0, 256, (len(ANGLES), 3, *size), dtype=torch.uint8, generator=torch.manual_seed(0)
    )
    view = rotations(ANGLES, size, interpolation)
    tasks = torch.arange(len(ANGLES))
    expected = torch.stack(
        [
            rotate(picture, angle, InterpolationMode(interpolation))
            for picture, angle in zip(pictures, ANGLES, strict=True)
        ]
    )
    mixed = view(pictures, tasks)
    alone = torch.cat([view(pictures[t : t + 1], tasks[t : t + 1]) for t in tasks.tolist()])
    assert torch.equal(mixed, alone)
    assert (mixed.int() - expected.int()).abs().max() <= (interpolation == "bilinear")
    if size[0] == size[1]:
        assert torch.equal(mixed[:6], expected[:6])  # quarter turns are exact


def test_angles_are_drawn_from_the_seed_or_given() -> None:
    random = rotated("random", 40)
    drawn = [random.outline(seed).names for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] and drawn[0][0] == drawn[2][0] == "as they are"
    assert not set(drawn[0][1:]) & set(drawn[2][1:])
    angles = [float(name.removeprefix("turned by ").removesuffix("°")) for name in drawn[0][1:]]
    assert 0 < min(angles) < 30 and 150 < max(angles) < 180
    stream = rotated([90, 0, 30, 5], 4).load(seed=0, scope="seen", device="cpu")
    assert stream.outline.names == ["turned by 90°", "as they are", "turned by 30°", "turned by 5°"]
    pictures = Noise().load("")[1].images
    for task, (test, turned) in enumerate(zip(stream.test, [90, 0, 30, 5], strict=True)):
        assert torch.equal(test.raw, rotate(pictures, turned))
        assert torch.equal(test.y, torch.arange(30) % 3 + 3 * task)


def test_ascending_angles_are_uniform_in_their_own_parts() -> None:
    tasks, drawn = 4, []
    for seed in range(100):
        names = rotated("ascending", tasks, rotate_first=True).outline(seed).names
        drawn.append([float(n.removeprefix("turned by ").removesuffix("°")) for n in names])
    places = torch.tensor(drawn) / (180 / tasks) - torch.arange(tasks)  # [seeds, T] in 0..1
    uniform = torch.arange(1, 401) / 400
    assert (places.flatten().sort().values - uniform).abs().max() < 1.63 / 400**0.5  # 1 %
    assert rotated("ascending", tasks).outline(0).names[0] == "as they are"


def test_as_many_angles_as_tasks() -> None:
    with pytest.raises(ConfigError, match="give one per task, or random, or ascending"):
        rotated([0.0, 9.0], 4)
    with pytest.raises(ConfigError, match=r"rotate_first=True: has no effect with angles=\[9.0\]"):
        rotated([9.0], 1, rotate_first=True)


def test_the_first_task_may_be_permuted_and_turned_too() -> None:
    """Its order and angle are its own; those of later tasks stay what they are without it."""
    whole = Noise().load("")[1].images
    as_is, moved = (
        permuted("domain_incremental", permute_first=first).load(seed=5, scope="seen", device="cpu")
        for first in (False, True)
    )
    assert torch.equal(as_is.test[0].raw, whole)
    assert as_is.outline.names == ["as they are", *(f"permutation {t}" for t in (1, 2, 3))]
    assert moved.outline.names == [f"permutation {t}" for t in (1, 2, 3, 4)]
    pictures = [test.raw.flatten(2) for test in moved.test]
    assert torch.equal(pictures[0].sort(-1).values, whole.flatten(2).sort(-1).values)
    for number, one in enumerate(pictures):  # no two tasks alike, nor like the pictures
        for other in (whole.flatten(2), *pictures[:number]):
            assert not torch.equal(one, other)
    for before, after in zip(as_is.test[1:], moved.test[1:], strict=True):
        assert torch.equal(before.raw, after.raw)

    plain, all_turned = (rotated("random", 4, rotate_first=first) for first in (False, True))
    firsts = [rotated("random", 1, rotate_first=True).outline(seed).names for seed in range(200)]
    angles = [float(name.removeprefix("turned by ").removesuffix("°")) for (name,) in firsts]
    spread = torch.tensor(angles).sort().values / 180
    uniform = torch.arange(1, 201) / 200
    assert (spread - uniform).abs().max() < 1.63 / 200**0.5  # Kolmogorov and Smirnov, 1 %
    assert all_turned.outline(7).names == [*firsts[7], *plain.outline(7).names[1:]]
    stream = all_turned.load(seed=7, scope="seen", device="cpu")
    expected = rotate(whole, angles[7])  # four digits of an angle are enough at this size
    assert torch.equal(stream.test[0].raw, expected)


def test_a_part_of_a_task_keeps_its_view() -> None:
    stream = permuted("domain_incremental").load(seed=0, scope="seen", device="cpu")
    train = stream.tasks[2].train
    rows = torch.tensor([5, 0, 60])
    assert torch.equal(train[rows].raw, train.raw[rows])
    assert torch.equal((train[rows] + stream.tasks[1].train[:2]).raw[:3], train.raw[rows])
    drawn = stream.tasks[2].random_training_samples(9, "test")
    ids = train.index.tolist()
    assert torch.equal(drawn.raw, train.raw[[ids.index(i) for i in drawn.index.tolist()]])
    assert replace(train, views=None, first=0).raw[0].ne(train.raw[0]).any()


def test_rotated_mnist_composes() -> None:
    words = ("dataset.interpolation=bilinear", "dataset.rotate_first=true")
    dataset = composed("dataset=rotated_mnist", *words).dataset
    assert len(dataset.outline(0).names) == 20
