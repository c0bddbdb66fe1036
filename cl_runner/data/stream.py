"""A data set cut into tasks: which samples, which classes, and which classes compete.

Classes are numbered in the order in which the stream shows them, so that the classes seen
before a task are the slice [0, old). C is the number of classes of the whole stream.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from cl_runner.data.samples import Preparation, Samples
from cl_runner.errors import ConfigError, DataError
from cl_runner.machine import refuse_too_large
from cl_runner.randomness import generator

Scenario = Literal["class_incremental", "task_incremental", "domain_incremental"]
SHARED = ("domain_incremental", "regression")  # kinds of streams whose tasks share their outputs
Scope = Literal["all", "seen", "new"]


@dataclass(frozen=True)
class Task:
    """One task as a strategy sees it; the test samples stay with the evaluator."""

    index: int
    name: str
    labels: list[int]  # the data set's own label of each class of this task
    classes: range  # the classes of this task, as the stream numbers them
    old: int  # classes seen before this task: the slice [0, old)
    seen: int  # classes seen when this task ends: the slice [0, seen)
    born: range  # classes whose classifier rows are initialised when this task begins
    candidates: range  # classes that compete for a sample of this task
    old_groups: list[range]  # old classes, grouped by which compete with each other
    competing: Tensor | None  # [C, C]: row = label, 0 where a class competes, −∞ elsewhere
    train: Samples
    validation: Samples
    seed: int
    regression: bool = False  # one real output: targets are real numbers, not classes

    @property
    def first(self) -> bool:
        return self.index == 0

    def generator(self, purpose: str) -> torch.Generator:
        """A fresh generator for one purpose at this task, the same whenever it is asked for."""
        return generator(self.seed, self.index, purpose)

    def random_training_samples(self, count: int | None, purpose: str) -> Samples:
        """`count` of the training samples (None: all) in random order."""
        order = torch.randperm(len(self.train), generator=self.generator(purpose))
        return self.train[order[:count].to(self.train.index.device)]


@dataclass(frozen=True)
class Stream:
    """The tasks in the order in which they are learned, and their test samples."""

    scenario: Scenario | Literal["regression"]
    tasks: list[Task]
    test: list[Samples]


@dataclass(frozen=True)
class Cut:
    """Pictures with the task and the class number that a cut gave them; task −1 is left out."""

    images: Tensor  # [M, C, H, W] uint8; in regression the inputs, float32
    labels: Tensor  # [M] int64, numbered by the stream; in regression the targets, float32
    tasks: Tensor  # [M] int64
    groups: Tensor  # [M] int64: samples of a group stay on one side of the validation split


@dataclass(frozen=True)
class Outline:
    """What is known of a stream before its data is read."""

    scenario: Scenario | Literal["regression"]
    names: list[str]  # of the tasks
    labels: list[list[int]]  # the data set's own label of each class of each task; regression: [0]
    shape: tuple[int, int, int]  # of a picture: [C, H, W]
    validation_fraction: float

    @property
    def classes(self) -> int:
        """Outputs of the network: all classes, or those of one task if tasks share them."""
        if self.scenario in SHARED:
            return len(self.labels[0])
        return sum(len(labels) for labels in self.labels)

    def ranges(self) -> list[range]:
        """The classes of each task, as the stream numbers them."""
        if self.scenario in SHARED:
            return [range(len(labels)) for labels in self.labels]
        ends = torch.tensor([len(labels) for labels in self.labels]).cumsum(0).tolist()
        return [
            range(end - len(labels), end) for end, labels in zip(ends, self.labels, strict=True)
        ]

    def born(self, index: int, scope: Scope) -> range:
        """The classes whose rows of the classifier are drawn when this task begins: its own, or all
        at once where all compete from the start."""
        if scope == "all" or self.scenario in SHARED:
            return range(self.classes) if index == 0 else range(0)
        return self.ranges()[index]

    def births(self, scope: Scope) -> list[int]:
        """How many rows are drawn together, in their order."""
        born = [self.born(index, scope) for index in range(len(self.labels))]
        return [len(rows) for rows in born if len(rows) > 0]


def assemble(
    outline: Outline,
    train: Cut,
    test: Cut,
    pixels: Preparation,
    *,
    scope: Scope,
    seed: int,
    device: str,
) -> Stream:
    """The stream of this outline. Raises DataError for a task or class without samples."""
    pixels = pixels.to(device)
    training = _samples(train, pixels, device)
    testing = _samples(test, pixels, device)
    ranges = outline.ranges()
    competing = _competing(outline, ranges, scope, device)
    tasks, tests = [], []
    for index, classes in enumerate(ranges):
        mine = torch.nonzero(train.tasks == index).flatten()
        kept, held_out = _split(train, mine, outline.validation_fraction)
        task = Task(
            index=index,
            name=outline.names[index],
            labels=outline.labels[index],
            classes=classes,
            old=0 if index == 0 else max(r.stop for r in ranges[:index]),
            seen=max(r.stop for r in ranges[: index + 1]),
            born=outline.born(index, scope),
            candidates=_candidates(outline, ranges, index, scope),
            old_groups=_old_groups(outline, ranges[:index]),
            competing=competing,
            train=training[kept.to(device)],
            validation=training[held_out.to(device)],
            seed=seed,
            regression=outline.scenario == "regression",
        )
        tasks.append(task)
        tests.append(testing[torch.nonzero(test.tasks == index).flatten().to(device)])
        _check_samples(task, "training", task.train)
        _check_samples(task, "test", tests[-1])
    if outline.validation_fraction > 0:
        _check_validation(outline.validation_fraction, tasks)
    return Stream(outline.scenario, tasks, tests)


def _samples(cut: Cut, pixels: Preparation, device: str) -> Samples:
    index = torch.arange(len(cut.labels), device=device)
    return Samples(cut.images.to(device), cut.labels.to(device), index, pixels)


def _candidates(outline: Outline, ranges: list[range], index: int, scope: Scope) -> range:
    if outline.scenario == "class_incremental" and scope == "all":
        return range(outline.classes)
    if outline.scenario == "class_incremental" and scope == "seen":
        return range(ranges[index].stop)
    return ranges[index]


def _old_groups(outline: Outline, before: list[range]) -> list[range]:
    """One softmax over all old classes, or one a task where only a task's own compete."""
    if not before:
        return []
    if outline.scenario == "task_incremental":
        return before
    return [range(max(r.stop for r in before))]


def _competing(outline: Outline, ranges: list[range], scope: Scope, device: str) -> Tensor | None:
    """None where the classifier's own mask of classes not born yet says it all."""
    if outline.scenario in SHARED:
        return None
    if outline.scenario == "class_incremental" and scope != "new":
        return None
    refuse_too_large("dataset.tasks", len(ranges), 4 * outline.classes**2)
    table = torch.full((outline.classes, outline.classes), -math.inf)
    for r in ranges:
        table[r.start : r.stop, r.start : r.stop] = 0.0
    return table.to(device)


def _split(cut: Cut, index: Tensor, fraction: float) -> tuple[Tensor, Tensor]:
    """Kept and held-out samples: of each class whole groups, to `fraction` of its samples.

    The same split whatever the seed, so that runs of several seeds are selected on the same data.
    """
    if fraction == 0:
        return index, index[:0]
    held_out = torch.zeros(len(index), dtype=torch.bool)
    labels, groups = cut.labels[index], cut.groups[index]
    if labels.is_floating_point():
        labels = torch.zeros_like(labels)
    for label in labels.unique().tolist():
        mine = labels == label
        names, sizes = groups[mine].unique(return_counts=True)
        order = torch.randperm(len(names), generator=generator("validation", label))
        before = sizes[order].cumsum(0) - sizes[order]
        chosen = names[order][before < round(fraction * int(mine.sum()))]
        held_out |= mine & torch.isin(groups, chosen)
    return index[~held_out], index[held_out]


def _check_validation(fraction: float, tasks: Sequence[Task]) -> None:
    """Raise ConfigError if of some task nothing is held out, with the smallest fraction that
    holds out a sample of each."""
    without = [task for task in tasks if len(task.validation) == 0]
    if not without:
        return
    largest = min(  # class of a task
        len(task.train) if task.regression else int(task.train.y.bincount().max())
        for task in without
    )
    names = f"task {without[0].index + 1} ({without[0].name})"
    allowed = f"holds out no sample of {names}, whose largest class has {largest}"
    enough = math.ceil(1000 / largest) / 1000
    hint = f"dataset.validation_fraction={enough:g}" if enough < 1 else ""
    raise ConfigError.of("dataset.validation_fraction", fraction, allowed, hint)


def _check_samples(task: Task, kind: str, samples: Samples) -> None:
    if task.regression:
        if len(samples) == 0:
            raise DataError(f"data error: task {task.index + 1} ({task.name}) has no {kind} sample")
        return
    present = set(samples.y.unique().tolist())
    missing = [
        label for c, label in zip(task.classes, task.labels, strict=True) if c not in present
    ]
    if missing:
        raise DataError(
            f"data error: task {task.index + 1} ({task.name}) has no {kind} sample of "
            f"class {', '.join(map(str, missing))}"
        )
