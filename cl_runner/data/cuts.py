"""The three ways of cutting data into tasks: by class, by pixel permutation, by data set."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate, pairwise
from math import prod
from typing import Protocol

import torch
from torch import Tensor

from cl_runner.config.setting_types import (
    DataRoot,
    Fraction,
    NonEmpty,
    NonNegativeInt,
    PositiveInt,
    Seed,
    TaskCount,
)
from cl_runner.config.targets import target
from cl_runner.data.arrays import joined
from cl_runner.data.assemble import Cut, assemble
from cl_runner.data.class_order import Order, check_order, in_order, sizes
from cl_runner.data.samples import Pixels
from cl_runner.data.source import Source, Split, has_features, in_words, read
from cl_runner.data.stream import Outline, Scenario, Scope, Stream
from cl_runner.data.views import Rearranged, View
from cl_runner.errors import ConfigError
from cl_runner.machine import refuse_too_large
from cl_runner.randomness import generator


@target
class ByClass:
    """One data set, of which each task has some classes (split MNIST and the like).

    `classes_per_task`: a number, a list with one for each task, or null: all classes in parts as
    equal as they can be, the larger ones first.

    `class_order`: `numeric`, a list of the data set's own labels, `seed_1993`: the permutation that
    numpy's RandomState(1993) draws first, as in many papers on CIFAR-100 and ImageNet-100; or
    `random`: drawn from `class_order_seed`, and where that is null from the seed of the run. So the
    order can be another for each seed, the same for all seeds, or be varied alone. Classes beyond
    the last task are left out.
    """

    def __init__(
        self,
        *,
        source: Source,
        root: DataRoot,
        scenario: Scenario,
        tasks: TaskCount,
        # Not PerTask: all values act at once, as they set the shape of the head.
        classes_per_task: PositiveInt | NonEmpty[PositiveInt] | None,
        class_order: Order | list[NonNegativeInt],
        class_order_seed: Seed | None,
        samples_per_task: PositiveInt | None,
        blurry: Fraction,
        repetition: Fraction,
        validation_fraction: Fraction,
        pixels: Pixels,
    ) -> None:
        self.source, self.root, self.pixels = (
            source,
            root,
            pixels.fitting(source.shape, has_features(source)),
        )
        self.scenario, self.validation_fraction = scenario, validation_fraction
        self.samples_per_task = samples_per_task
        self.blurry, self.repetition = blurry, repetition
        self.sizes = sizes(tasks, classes_per_task, source, scenario)
        if isinstance(class_order, list):
            check_order(class_order, sum(self.sizes), source)
        if class_order_seed is not None and class_order != "random":
            allowed = f"has no effect with class_order={class_order}"
            hint = "class_order=random or class_order_seed=null"
            raise ConfigError.of("class_order_seed", class_order_seed, allowed, hint)
        self.class_order, self.class_order_seed = class_order, class_order_seed

    def outline(self, seed: int) -> Outline:
        starts = [0, *accumulate(self.sizes)]
        order = in_order(self.class_order, self.class_order_seed, self.source.classes, seed)
        labels = [order[a:b] for a, b in pairwise(starts)]
        known = getattr(self.source, "class_names", None)
        names = [in_words(task, known) for task in labels]
        left_out = self.source.classes - sum(self.sizes)
        return replace(outlined(self, self.source, names, labels), left_out=left_out)

    def load(self, *, seed: int, scope: Scope, device: str) -> Stream:
        outline = self.outline(seed)
        train, test = (self._cut(split, outline) for split in read(self.source, self.root))
        return assemble(outline, train, test, self.pixels, scope=scope, seed=seed, device=device)

    def _cut(self, split: Split, outline: Outline) -> Cut:
        task_of = torch.full((self.source.classes,), -1)
        number_of = torch.zeros(self.source.classes, dtype=torch.int64)
        for task, numbers in enumerate(outline.ranges()):
            labels = outline.labels[task]
            task_of[labels] = task
            number_of[labels] = torch.tensor(numbers)
        return Cut(split.images, number_of[split.labels], task_of[split.labels], groups_of(split))


@target
class ByPermutation:
    """One data set; each task shows all classes with its pixels in another fixed order, drawn from
    the seed.

    The first task shows the pictures as they are (permuted MNIST, Goodfellow et al. 2014; Hsu et
    al. 2018); with `permute_first` its pixels are permuted, too (van de Ven & Tolias 2019, Chaudhry
    et al. 2019).
    """

    def __init__(
        self,
        *,
        source: Source,
        root: DataRoot,
        scenario: Scenario,
        tasks: TaskCount,
        permute_first: bool,
        samples_per_task: PositiveInt | None,
        blurry: Fraction,
        repetition: Fraction,
        validation_fraction: Fraction,
        pixels: Pixels,
    ) -> None:
        self.source, self.root, self.tasks = source, root, tasks
        self.pixels = pixels.fitting(source.shape, has_features(source))
        self.permute_first = permute_first
        self.scenario, self.validation_fraction = scenario, validation_fraction
        self.samples_per_task = samples_per_task
        self.blurry, self.repetition = blurry, repetition

    def outline(self, seed: int) -> Outline:
        first = 1 if self.permute_first else 0
        numbers = range(first, first + self.tasks)
        names = [f"permutation {number}" if number else "as they are" for number in numbers]
        labels = [list(range(self.source.classes))] * self.tasks
        return outlined(self, self.source, names, labels)

    def load(self, *, seed: int, scope: Scope, device: str) -> Stream:
        splits = read(self.source, self.root)
        train, test = in_views(splits, self.view(seed), self.tasks)
        outline, pixels = self.outline(seed), self.pixels
        return assemble(outline, train, test, pixels, scope=scope, seed=seed, device=device)

    def view(self, seed: int) -> View:
        """How each task shows a padded picture; needs no data."""
        pixels = prod(self.outline(seed).shape[1:])
        orders = [
            torch.randperm(pixels, generator=generator(seed, t, "permutation"))
            if t > 0 or self.permute_first
            else torch.arange(pixels)
            for t in range(self.tasks)
        ]
        return Rearranged(torch.stack(orders), black=False)


@target
class BySource:
    """Several data sets, one per task, which agree in shape and number of classes."""

    def __init__(
        self,
        *,
        sources: NonEmpty[Source],
        root: DataRoot,
        scenario: Scenario,
        samples_per_task: PositiveInt | None,
        blurry: Fraction,
        repetition: Fraction,
        validation_fraction: Fraction,
        pixels: Pixels,
    ) -> None:
        self.sources, self.root = sources, root
        self.pixels = pixels.fitting(sources[0].shape, has_features(sources[0]))
        self.scenario, self.validation_fraction = scenario, validation_fraction
        self.samples_per_task = samples_per_task
        self.blurry, self.repetition = blurry, repetition
        shapes = {s.name: (*s.shape, s.classes, *["features"] * has_features(s)) for s in sources}
        if len(set(shapes.values())) != 1:
            allowed = "the data sets must agree in [channels, height, width, classes]"
            raise ConfigError.of("sources", shapes, allowed)

    def outline(self, seed: int) -> Outline:
        names = [source.name for source in self.sources]
        labels = [list(range(source.classes)) for source in self.sources]
        # Each data set names classes of its own.
        return replace(outlined(self, self.sources[0], names, labels), class_names=None)

    def load(self, *, seed: int, scope: Scope, device: str) -> Stream:
        outline = self.outline(seed)
        pairs = [read(source, self.root) for source in self.sources]
        train, test = (_one_after_another(list(side), outline) for side in zip(*pairs, strict=True))
        return assemble(outline, train, test, self.pixels, scope=scope, seed=seed, device=device)


class Stated(Protocol):
    """A cut, as far as its outline repeats its settings."""

    scenario: Scenario
    validation_fraction: float
    samples_per_task: int | None
    blurry: float
    repetition: float
    pixels: Pixels


def outlined(cut: Stated, source: Source, names: list[str], labels: list[list[int]]) -> Outline:
    """The outline of tasks with these names and classes."""
    return Outline(
        cut.scenario,
        names,
        labels,
        cut.pixels.padded(source.shape),
        cut.validation_fraction,
        cut.samples_per_task,
        has_features(source),
        cut.pixels.augments,
        getattr(source, "class_names", None),
        cut.blurry,
        cut.repetition,
    )


def _one_after_another(splits: list[Split], outline: Outline) -> Cut:
    """Each split as a task, with its labels moved to the numbers that the stream gives them."""
    starts = [numbers.start for numbers in outline.ranges()]
    return Cut(
        joined([split.images for split in splits]),
        torch.cat([split.labels + start for split, start in zip(splits, starts, strict=True)]),
        torch.cat([torch.full_like(split.labels, t) for t, split in enumerate(splits)]),
        torch.cat([groups_of(split) for split in splits]),
    )


def in_views(splits: tuple[Split, Split], view: View, tasks: int) -> tuple[Cut, Cut]:
    """Each task sees all samples of the split in its own way. Raises ConfigError for too many."""
    # What grows is the class predicted of each test sample of each task so far after each task.
    refuse_too_large("dataset.tasks", tasks, tasks * (tasks + 1) * len(splits[1].labels))
    train, test = (Cut(each.images, each.labels, view, groups_of(each)) for each in splits)
    return train, test


def groups_of(split: Split) -> Tensor:
    return torch.arange(len(split.labels)) if split.groups is None else split.groups
