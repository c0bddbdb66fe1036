"""From the samples of a cut to a stream of tasks, each checked for missing samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cl_runner.data import mixing
from cl_runner.data.arrays import Rows, on, padded
from cl_runner.data.likelihood import Likelihood
from cl_runner.data.samples import Preparation, Samples
from cl_runner.data.stream import Outline, Scope, Stream, Task
from cl_runner.data.views import View, Views
from cl_runner.errors import ConfigError, DataError
from cl_runner.machine import refuse_too_large
from cl_runner.randomness import generator


@dataclass(frozen=True)
class Cut:
    """Stored samples with their task and their class in the stream.

    Either each sample belongs to one task, or every task has all of them, in its own view.
    """

    images: Rows  # [M, C, H, W] uint8, not padded; features and inputs of regression: float32
    labels: Tensor  # [M] int64, as the stream numbers them (with views: as the task does)
    tasks: Tensor | View  # [M] int64, −1: left out
    groups: Tensor  # [M] int64: a group stays on one side of the validation split


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
    """The stream of this outline.

    Raises DataError for a task or class without samples, ConfigError for a validation fraction
    that holds out nothing of a task, and for more samples per task than there are, or so few that
    a class has none.
    """
    pixels = pixels.to(device)
    training, testing = (_stored(cut, outline, pixels, device) for cut in (train, test))
    ranges = outline.ranges()
    competing, homes = _competing(outline, ranges, scope, device), outline.homes()
    homes = homes if homes is None else homes.to(device)
    ends = [classes.stop for classes in ranges]
    tasks, tests = [], []
    for index, classes in enumerate(ranges):
        old = max(ends[:index], default=0)
        mine = _of_task(training, train, index)
        kept, held_out = _split(mine, train.groups, outline.likelihood, outline.validation_fraction)
        task = Task(
            index=index,
            name=outline.names[index],
            labels=outline.labels[index],
            classes=classes,
            old=old,
            seen=max(old, classes.stop),
            shown=outline.classes if outline.blurry > 0 else max(old, classes.stop),
            born=outline.born(index, scope),
            candidates=_candidates(outline, ranges, index, scope),
            old_groups=_old_groups(outline, ranges[:index], old),
            competing=competing,
            homes=homes,
            train=kept,
            validation=held_out,
            seed=seed,
            likelihood=outline.likelihood,
        )
        tests.append(_of_task(testing, test, index))
        _check_samples(task, "training", task.train)
        _check_samples(task, "test", tests[-1])
        tasks.append(task)
    if outline.validation_fraction > 0:
        _check_validation(outline.validation_fraction, tasks)
    if outline.samples_per_task is not None:
        tasks = _with_fewer(tasks, outline.samples_per_task)
    if outline.blurry > 0 or outline.repetition > 0:
        tasks = _mixed(tasks, outline)
    return Stream(outline, tasks, tests)


def _stored(cut: Cut, outline: Outline, pixels: Preparation, device: str) -> Samples:
    """All samples of the cut; where each task has a view of them, as the first task sees them."""
    views = None
    if not isinstance(cut.tasks, Tensor):
        starts = torch.tensor([numbers.start for numbers in outline.ranges()])
        views = Views(len(cut.labels), starts, cut.tasks).to(device)
    rows = torch.arange(len(cut.labels), device=device)
    images = on(padded(cut.images, pixels.padding), device)
    return Samples(images, cut.labels.to(device), rows, pixels, views)


def _of_task(samples: Samples, cut: Cut, task: int) -> Samples:
    if isinstance(cut.tasks, Tensor):
        return samples[torch.nonzero(cut.tasks == task).flatten().to(samples.rows.device)]
    return replace(samples, first=task * len(samples))


def _candidates(outline: Outline, ranges: list[range], index: int, scope: Scope) -> range:
    if outline.scenario != "class_incremental" or scope == "new":
        return ranges[index]
    return range(outline.classes if scope == "all" else ranges[index].stop)


def _old_groups(outline: Outline, before: list[range], old: int) -> list[range]:
    """One softmax over all old classes, or one per task where only a task's own compete."""
    if not before or outline.scenario == "task_incremental":
        return before
    return [range(old)]


def _competing(outline: Outline, ranges: list[range], scope: Scope, device: str) -> Tensor | None:
    """`Task.competing`; None where all classes that are born compete."""
    if outline.shared or (outline.scenario == "class_incremental" and scope != "new"):
        return None
    refuse_too_large("dataset.tasks", len(ranges), 4 * outline.classes**2)
    table = torch.full((outline.classes, outline.classes), -math.inf)
    for r in ranges:
        table[r.start : r.stop, r.start : r.stop] = 0.0
    return table.to(device)


def _split(
    samples: Samples, groups: Tensor, likelihood: Likelihood, fraction: float
) -> tuple[Samples, Samples]:
    """Kept and held-out samples: whole groups, which make up `fraction` of each class.

    groups: [M], of the stored samples. The split does not depend on the seed, so runs with other
    seeds are selected on the same data.
    """
    if fraction == 0:
        return samples, samples[:0]
    held_out = torch.zeros(len(samples), dtype=torch.bool)
    labels, groups = likelihood.kinds(samples.y).cpu(), groups[samples.rows.cpu()]
    for label in labels.unique().tolist():
        mine = labels == label
        names, sizes = groups[mine].unique(return_counts=True)
        order = torch.randperm(len(names), generator=generator("validation", label))
        before = sizes[order].cumsum(0) - sizes[order]
        chosen = names[order][before < round(fraction * int(mine.sum()))]
        held_out |= mine & torch.isin(groups, chosen)
    held_out = held_out.to(samples.rows.device)
    return samples[~held_out], samples[held_out]


def _check_validation(fraction: float, tasks: Sequence[Task]) -> None:
    """Raise ConfigError if nothing is held out of some task; these are all samples that they have.
    The hint is a fraction that holds out a sample of each."""
    without = [task for task in tasks if len(task.validation) == 0]
    if not without:
        return
    kinds = (task.likelihood.kinds(task.train.y) for task in without)
    largest = min(int(each.unique(return_counts=True)[1].max()) for each in kinds)
    allowed = f"holds out no sample of {_named(without[0])}, whose largest class has {largest}"
    enough = math.ceil(1000 / largest) / 1000
    hint = f"dataset.validation_fraction={enough:g}" if enough < 1 else ""
    raise ConfigError.of("dataset.validation_fraction", fraction, allowed, hint)


def _with_fewer(tasks: Sequence[Task], count: int) -> list[Task]:
    """The tasks with `count` training samples each, drawn from the seed for each task anew.

    Raises ConfigError if a task has fewer, or if none of a class is drawn.
    """
    key = "dataset.samples_per_task"
    smallest = min(tasks, key=lambda task: len(task.train))
    if len(smallest.train) < count:
        allowed = f"is too many: {_named(smallest)} has {len(smallest.train)} training samples"
        raise ConfigError.of(key, count, allowed, f"{key}={len(smallest.train)}")
    fewer = []
    for task in tasks:
        drawn = task.random_training_samples(count, "samples per task")
        train = replace(drawn, rows=drawn.rows.sort().values)
        fewer.append(replace(task, train=train))
        missing = _missing(task, train)
        if missing is not None:
            allowed = f"is too few: no sample{missing} of {_named(task)} is drawn with this seed"
            raise ConfigError.of(key, count, allowed)
    return fewer


def _mixed(tasks: Sequence[Task], outline: Outline) -> list[Task]:
    """The tasks with samples of each other. Raises ConfigError if a class leaves its task, or if no
    sample does."""
    key = "dataset.blurry" if outline.blurry > 0 else "dataset.repetition"
    share, shown = outline.blurry or outline.repetition, mixing.shown(tasks, outline)
    others = 0
    for task, samples in zip(tasks, shown, strict=True):
        own = torch.isin(samples.index, task.train.index)
        others += int((~own).sum())
        missing = _missing(task, samples[own])
        if missing is not None:
            allowed = f"is too much: no sample{missing} of {_named(task)} stays in it"
            raise ConfigError.of(key, share, allowed)
    if others == 0:
        most = max(len(task.train) for task in tasks)
        allowed = f"is too little: no sample leaves its task, and the largest has {most} samples"
        raise ConfigError.of(key, share, allowed)
    return [replace(task, train=samples) for task, samples in zip(tasks, shown, strict=True)]


def _check_samples(task: Task, kind: str, samples: Samples) -> None:
    """Raise DataError unless there is a sample of each class."""
    missing = _missing(task, samples)
    if missing is not None:
        raise DataError(f"data error: {_named(task)} has no {kind} sample{missing}")


def _missing(task: Task, samples: Samples) -> str | None:
    """Of which classes of the task there is no sample, in words: " of class 3", and "" where the
    task has one class. None if there are samples of all."""
    present = set(task.likelihood.kinds(samples.y).unique().tolist())
    labels = zip(task.classes, task.labels, strict=True)
    missing = [str(label) for number, label in labels if number not in present]
    if not missing:
        return None
    return f" of class {', '.join(missing)}" if len(task.labels) > 1 else ""


def _named(task: Task) -> str:
    return f"task {task.index + 1} ({task.name})"
