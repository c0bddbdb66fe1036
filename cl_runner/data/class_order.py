"""Which classes each task of a split data set has, and in which order they come."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from cl_runner.config.setting_types import at_most_one_a_task, at_task
from cl_runner.data.source import Source
from cl_runner.data.stream import Scenario
from cl_runner.errors import ConfigError
from cl_runner.randomness import generator

Order = Literal["numeric", "random", "seed_1993"]


def in_order(order: Order | list[int], own_seed: int | None, classes: int, seed: int) -> list[int]:
    """The data set's labels in this order. seed: of the run, used unless the order has its own."""
    if isinstance(order, list):
        return order
    if order == "numeric":
        return list(range(classes))
    if order == "seed_1993":
        fixed: list[int] = np.random.RandomState(1993).permutation(classes).tolist()
        return fixed
    draw = generator(seed if own_seed is None else own_seed, "class order")
    drawn: list[int] = torch.randperm(classes, generator=draw).tolist()
    return drawn


def sizes(
    tasks: int, classes_per_task: int | list[int] | None, source: Source, scenario: Scenario
) -> list[int]:
    """Number of classes of each task. Raises ConfigError if the data set has fewer in all."""
    if classes_per_task is None:
        classes_per_task = _equal(tasks, source)
    at_most_one_a_task("classes_per_task", classes_per_task, tasks)
    counts = [at_task(classes_per_task, t) for t in range(min(tasks, source.classes + 1))]
    if sum(counts) > source.classes:
        allowed = f"is too many with {classes_per_task} classes per task: {source.name} has"
        raise ConfigError.of("tasks", tasks, f"{allowed} {source.classes} classes")
    if sum(counts) == 1:
        raise ConfigError.of("classes_per_task", counts, "needs at least two classes")
    if scenario == "domain_incremental" and len(set(counts)) > 1:
        allowed = "a domain-incremental stream needs the same number of classes in every task"
        raise ConfigError.of("classes_per_task", counts, allowed)
    return counts


def _equal(tasks: int, source: Source) -> list[int]:
    if tasks > source.classes:
        allowed = f"is too many: {source.name} has {source.classes} classes"
        raise ConfigError.of("tasks", tasks, allowed)
    least, more = divmod(source.classes, tasks)
    return [least + 1] * more + [least] * (tasks - more)


def check_order(order: list[int], needed: int, source: Source) -> None:
    """Raise ConfigError unless it lists classes of the data set, each once, and enough of them."""
    outside = [str(label) for label in order if label >= source.classes]
    twice = sorted({str(label) for label in order if order.count(label) > 1})
    if outside:
        allowed = f"class {', '.join(outside)} is outside 0 … {source.classes - 1}"
    elif twice:
        allowed = f"class {', '.join(twice)} is listed more than once"
    elif len(order) < needed:
        allowed = f"lists {len(order)} classes, but the tasks need {needed}"
    else:
        return
    raise ConfigError.of("class_order", order, allowed)
