"""Stored samples that join a task's own data, as often as makes them about as many.

As in the code of Hsu et al. 2018, arXiv:1810.12488.
"""

from __future__ import annotations

from cl_runner.data.samples import Samples
from cl_runner.data.stream import Stream, Task
from cl_runner.strategies.parts.memory import Memory


def with_stored(memory: Memory, task: Task) -> Samples:
    """The task's training samples and all stored ones, those at least once."""
    data = task.train
    if not task.first:
        for _ in range(_copies(memory, task)):
            data = data + memory.among(task.train)
    return data


def size_with_stored(memory: Memory, stream: Stream, task: Task, at_most: int | None) -> int:
    """How many they will be, before anything is stored. at_most: of each task (None: no limit)."""
    sizes = [len(earlier.train) for earlier in stream.tasks[: task.index]]
    offered = sum(min(size, at_most or size) for size in sizes)
    return len(task.train) + min(len(memory.labels), offered) * _copies(memory, task)


def _copies(memory: Memory, task: Task) -> int:
    return max(1, len(task.train) // len(memory.labels))
