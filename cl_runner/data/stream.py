"""A stream of tasks: its outline, known before data is read, and the tasks as a strategy sees them.

Classes are numbered in the order in which the stream shows them, so that the classes seen before a
task are the slice [0, old). C is the number of classes of the whole stream.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from cl_runner.data.likelihood import CATEGORICAL, GAUSSIAN, Likelihood
from cl_runner.data.samples import Samples, digest_of
from cl_runner.randomness import generator

Scenario = Literal["class_incremental", "task_incremental", "domain_incremental"]
ROWS = 1000
"""How many are read at a time."""
Scope = Literal["all", "seen", "new"]


@dataclass(frozen=True)
class Outline:
    """What is known about a stream before its data is read."""

    scenario: Scenario | Literal["regression"]
    names: list[str]  # of the tasks
    labels: list[list[int]]  # the data set's own label of each class of each task; regression: [0]
    shape: tuple[int, int, int]  # of a picture with its padding: [C, H, W]
    validation_fraction: float
    samples_per_task: int | None = None  # drawn from the training samples; None: all
    features: bool = False  # whether samples are float32 features [1, 1, D], not uint8 pictures
    augmented: bool = False  # whether training samples look different each time
    class_names: list[str] | None = None  # of the data set's own labels, where it has names
    blurry: float = 0.0  # share of each task's training samples that the other tasks show
    repetition: float = 0.0  # share of them that later tasks show
    left_out: int = 0  # classes of the data set that no task has

    @property
    def likelihood(self) -> Likelihood:
        """Whether targets are classes or real numbers, and everything that depends on it."""
        return GAUSSIAN if self.scenario == "regression" else CATEGORICAL

    @property
    def matrix(self) -> str:
        """The matrix of `results.json` that metrics are computed from."""
        own = self.scenario == "task_incremental"
        return "accuracy_task_il" if own else self.likelihood.measure

    @property
    def shared(self) -> bool:
        """Whether all tasks have the same outputs."""
        return self.scenario in ("domain_incremental", "regression")

    @property
    def classes(self) -> int:
        """Number of outputs of the network: all classes, or those of one task where tasks share."""
        if self.shared:
            return len(self.labels[0])
        return sum(len(labels) for labels in self.labels)

    def ranges(self) -> list[range]:
        """The classes of each task, as the stream numbers them."""
        if self.shared:
            return [range(len(labels)) for labels in self.labels]
        ends = [0, *accumulate(map(len, self.labels))]
        return [range(start, end) for start, end in pairwise(ends)]

    def homes(self) -> Tensor | None:
        """[C]: the task of each class; None where tasks share classes."""
        if self.shared:
            return None
        sizes = torch.tensor([len(labels) for labels in self.labels])
        return torch.arange(len(sizes)).repeat_interleave(sizes)

    def born(self, index: int, scope: Scope) -> range:
        """The classes that have outputs from this task on: its own, or all of them at the first
        task where all compete from the start."""
        if scope == "all" or self.shared:
            return range(self.classes) if index == 0 else range(0)
        return self.ranges()[index]

    def births(self, scope: Scope) -> list[int]:
        """The sizes of the groups of classes that have outputs from the same task on, in order."""
        born = [self.born(index, scope) for index in range(len(self.labels))]
        return [len(rows) for rows in born if len(rows) > 0]


@dataclass(frozen=True)
class Task:
    """One task as a strategy sees it; the test samples stay with the evaluator."""

    index: int
    name: str
    labels: list[int]  # the data set's own label of each class of this task
    classes: range  # the classes of this task, as the stream numbers them
    old: int  # classes seen before this task: the slice [0, old)
    seen: int  # classes seen when this task ends: the slice [0, seen)
    shown: int  # its training samples are of the slice [0, shown): seen, or more if it is blurry
    born: range  # classes that have outputs from this task on
    candidates: range  # classes that compete for a sample of a class of this task
    old_groups: list[range]  # old classes, grouped by which compete with each other
    competing: Tensor | None  # [C, C]: row = label, 0 where a class competes, −∞ elsewhere
    homes: Tensor | None  # [C]: the task of each class; None where tasks share classes
    train: Samples
    validation: Samples
    seed: int
    likelihood: Likelihood  # of classes, or of real numbers

    @property
    def first(self) -> bool:
        return self.index == 0

    def generator(self, purpose: str) -> torch.Generator:
        """A fresh generator for one purpose at this task; the same at each call."""
        return generator(self.seed, self.index, purpose)

    def home(self, y: Tensor) -> Tensor:
        """[N] int64: the task of each class [N]; this task, where tasks share classes."""
        return torch.full_like(y, self.index) if self.homes is None else self.homes[y]

    def by_candidates(self, samples: Samples) -> list[tuple[Samples, range]]:
        """The samples in parts, each with the classes that compete for it: one part, unless
        they belong to several tasks of which each has its own softmax."""
        if self.competing is None:
            return [(samples, self.candidates)]
        homes = self.home(samples.y)
        parts = []
        for home in homes.unique().tolist():
            classes = torch.nonzero(self.homes == home).flatten().tolist()
            mine = samples if bool((homes == home).all()) else samples[homes == home]
            parts.append((mine, range(classes[0], classes[-1] + 1)))
        return parts

    def random_training_samples(self, count: int | None, purpose: str) -> Samples:
        """`count` of the training samples (None: all) in random order."""
        order = torch.randperm(len(self.train), generator=self.generator(purpose))
        return self.train[order[:count].to(self.train.index.device)]


class Digests(NamedTuple):
    """SHA-256 of a stream, and of the test samples of each task."""

    whole: str
    test: list[str]


@dataclass(frozen=True)
class Stream:
    """The tasks in the order of learning, and their test samples."""

    outline: Outline
    tasks: list[Task]
    test: list[Samples]
    samples: Digests | None = None  # of the data set's samples, where features stand for them

    @cached_property
    def test_sha256(self) -> list[str]:
        """Of each task's test samples and their labels, as the data set has them."""
        return (
            [digest_of(test) for test in self.test] if self.samples is None else self.samples.test
        )

    @cached_property
    def sha256(self) -> str:
        """Of all that is stored, and of the parts that tasks have of it. Each stored row is read
        once, however many tasks see it."""
        if self.samples is not None:
            return self.samples.whole
        parts = [s for task in self.tasks for s in (task.train, task.validation)] + self.test
        digest = hashlib.sha256()
        for stored in {id(samples.images): samples for samples in parts}.values():
            for rows in torch.arange(len(stored.images), device=stored.rows.device).split(ROWS):
                digest.update(_bytes(stored.images.index_select(0, rows)))
            digest.update(_bytes(stored.labels))
        for samples in parts:
            digest.update(_bytes(samples.index))
        return digest.hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    values: memoryview = tensor.cpu().contiguous().numpy().data
    return values.cast("B") if values.nbytes else memoryview(b"")
