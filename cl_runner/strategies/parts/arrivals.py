"""Samples on their way into a memory, and the groups that it counts them in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from cl_runner.data.stream import Task


@dataclass(frozen=True)
class Arrivals:
    """Samples to be stored; every tensor has N rows."""

    raw: Tensor
    y: Tensor
    groups: Tensor
    index: Tensor
    columns: Mapping[str, Tensor]

    def at(self, rows: Tensor) -> Arrivals:
        """These rows of them. `index_select` is several times as fast as indexing."""
        columns = {name: values.index_select(0, rows) for name, values in self.columns.items()}
        parts = (self.raw, self.y, self.groups, self.index)
        raw, y, groups, index = (part.index_select(0, rows) for part in parts)
        return Arrivals(raw, y, groups, index, columns)


def groups_of(task: Task, y: Tensor) -> Tensor:
    """One number for each pair of task and class."""
    kinds = task.likelihood.kinds(y).long()
    return (task.home(kinds) << 32) + kinds


def group_sizes(task: Task) -> dict[int, int]:
    """The number of training samples of each group that the task shows."""
    groups, sizes = groups_of(task, task.train.y).unique(return_counts=True)
    return dict(zip(groups.tolist(), sizes.tolist(), strict=True))
