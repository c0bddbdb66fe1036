"""Tasks that show samples of each other: blurry boundaries, and classes that come back.

Only training samples move, and each is still shown in exactly one task, as its own task would show
it. The classes of a task, their numbers, validation and test samples stay, so all metrics are
defined as ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from cl_runner.data.samples import Samples
from cl_runner.data.stream import Outline, Scope, Task
from cl_runner.errors import ConfigError


def check(outline: Outline, scope: Scope) -> None:
    """Raise ConfigError if the settings `blurry` and `repetition` fit neither each other nor the
    stream, or if a task would show classes that have no outputs yet."""
    given = {"blurry": outline.blurry, "repetition": outline.repetition}
    set_to = {f"dataset.{name}": share for name, share in given.items() if share > 0}
    for key, share in set_to.items():
        if len(outline.labels) == 1:
            raise ConfigError.of(key, share, "needs a second task", f"{key}=0.0")
    if len(set_to) > 1:
        allowed = f"cannot be given beside blurry={outline.blurry:g}, which does both"
        hint = "dataset.blurry=0.0, or dataset.repetition=0.0"
        raise ConfigError.of("dataset.repetition", outline.repetition, allowed, hint)
    if outline.blurry > 0 and len(outline.births(scope)) > 1:
        allowed = f"shows samples of later classes, which have no outputs yet with ce_scope={scope}"
        hint = "ce_scope=all, or dataset.repetition instead"
        raise ConfigError.of("dataset.blurry", outline.blurry, allowed, hint)


def shown(tasks: Sequence[Task], outline: Outline) -> list[Samples]:
    """The training samples that each task shows.

    `blurry`: each task gives this share of its own to the other tasks, in equal parts (the
    "blurry M" of Bang et al. 2021, arXiv:2103.17230: M % of a task are samples of the classes of
    others). `repetition`: only to the tasks after it, so the last one keeps its own. What is given
    depends on the seed alone, and has as many samples of each class as whole numbers allow.
    """
    share = outline.blurry or outline.repetition
    parts: list[list[Tensor]] = [[] for _ in tasks]
    for task in tasks:
        earlier = range(task.index if outline.blurry > 0 else 0)
        takers = torch.tensor([*earlier, *range(task.index + 1, len(tasks))], dtype=torch.int64)
        draw = task.generator("samples for other tasks")
        kept, given = _divided(task, share if len(takers) > 0 else 0.0, draw)
        parts[task.index].append(kept)
        takers = takers[torch.randperm(len(takers), generator=draw)]
        for place, taker in enumerate(takers.tolist()):
            parts[taker].append(given[place :: len(takers)])
    device = tasks[0].train.rows.device
    ids = [torch.cat(of_task).sort().values.to(device) for of_task in parts]
    return [replace(task.train, rows=rows, first=0) for task, rows in zip(tasks, ids, strict=True)]


def _divided(task: Task, share: float, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """The ids of the samples that stay and of those that go, the latter class by class."""
    count = len(task.train)
    order = torch.randperm(count, generator=draw)
    order = order[task.likelihood.kinds(task.train.y).cpu()[order].argsort(stable=True)]
    ids = task.train.index.cpu()[order]
    steps = torch.arange(count + 1) * round(share * count) // count
    goes = steps[1:] > steps[:-1]  # evenly spaced, so evenly over the classes
    return ids[~goes], ids[goes]
