"""What every evaluator does: keep rows on test and on validation samples, and a curve."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from cl_runner.data.samples import Samples
from cl_runner.data.stream import Stream, Task
from cl_runner.metrics import Matrix
from cl_runner.strategies.strategy import Strategy


class Evaluator(ABC):
    """The only reader of test data. Training is the same whether and how often it evaluates.

    A row of a matrix has the measure on each task after learning one, None for tasks to come.
    """

    measure: ClassVar[str]  # its name in `measures.py`
    kept: ClassVar[tuple[str, ...]]  # names of what makes up the state, with those below

    def __init__(self, stream: Stream) -> None:
        self.outline, self.tasks, self.test = stream.outline, stream.tasks, stream.test
        self.validation: Matrix = []
        self.curve: list[tuple[int, list[float]]] = []  # task being learned, measures so far

    def state_dict(self) -> dict[str, Any]:
        """All that has been measured."""
        return {name: getattr(self, name) for name in ("validation", "curve", *self.kept)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in ("validation", "curve", *self.kept):
            setattr(self, name, state[name])

    @abstractmethod
    def on(self, strategy: Strategy, samples: Samples, tested: Task, learned: Task) -> float:
        """The measure on samples of the task `tested` when `learned` is the latest task."""

    @abstractmethod
    def before_task(self, strategy: Strategy, task: Task) -> None:
        """Before the first step of a task."""

    @abstractmethod
    def within_task(self, strategy: Strategy, task: Task) -> list[float]:
        """The measures on the tasks so far in the middle of a task, a point of the curve."""

    @abstractmethod
    def after_task(self, strategy: Strategy, task: Task) -> list[float]:
        """The same at the end of a task, and a row of each matrix."""

    @abstractmethod
    def results(self, reference: Matrix | None) -> dict[str, Any]:
        """The part of `results.json` that is measured; see `metrics.py` for the definitions."""

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """What `predictions.npz` holds."""

    @property
    def evaluated_within(self) -> bool:
        """Whether the curve has points beside the ends of tasks."""
        return len(self.curve) > len(self.tasks)

    def so_far(self, task: Task) -> list[Task]:
        """The tasks up to this one."""
        return self.tasks[: task.index + 1]

    def add_point(self, task: Task, row: list[float]) -> list[float]:
        """Add these measures to the curve, and return them."""
        self.curve.append((task.index, row))
        return row

    def add_validation_row(self, strategy: Strategy, task: Task) -> None:
        """Measure on the validation samples, if samples of each task are held out."""
        if all(len(t.validation) > 0 for t in self.tasks):
            row = [self.on(strategy, t.validation, t, task) for t in self.so_far(task)]
            self.validation.append(self.padded(row))

    def padded(self, row: Sequence[float]) -> list[float | None]:
        """A row of a matrix."""
        return [*row, *[None] * (len(self.tasks) - len(row))]
