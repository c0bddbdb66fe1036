"""What all evaluators share: rows on test and validation samples, and a curve."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np

from cl_runner.data.samples import Samples
from cl_runner.data.stream import Stream, Task
from cl_runner.metrics import Matrix
from cl_runner.strategies.strategy import Strategy

Keep: TypeAlias = Literal["predictions", "logits"]
"""What a run keeps of each test sample after each task: the predicted class, or its scores, too."""


class Evaluator(ABC):
    """Measures on test data. Evaluating, however often, does not change the training.

    Row t of a matrix has the measure on each task after learning task t, None for later tasks.
    """

    measure: ClassVar[str]  # its name in `measures.py`
    kept: ClassVar[tuple[str, ...]] = ("validation", "curve")  # the attributes that are saved

    def __init__(self, stream: Stream, keep: Keep = "predictions") -> None:
        self.keep = keep
        self.outline, self.tasks, self.test = stream.outline, stream.tasks, stream.test
        self.validation: Matrix = []
        self.curve: list[
            tuple[int, list[float]]
        ] = []  # task being learned, measure on tasks so far

    def state_dict(self) -> dict[str, Any]:
        """Everything measured so far."""
        return {name: getattr(self, name) for name in self.kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in self.kept:
            setattr(self, name, state[name])

    @abstractmethod
    def on(self, strategy: Strategy, samples: Samples, tested: Task, learned: Task) -> float:
        """The measure on samples of the task `tested`, when `learned` is the latest task."""

    def before_task(self, strategy: Strategy, task: Task) -> None:  # noqa: B027
        """Called before the first step of a task."""

    @abstractmethod
    def within_task(self, strategy: Strategy, task: Task) -> list[float]:
        """Add a point to the curve during a task. Returns the measure on each task so far."""

    @abstractmethod
    def after_task(self, strategy: Strategy, task: Task) -> list[float]:
        """Add a point to the curve and a row to each matrix. Returns the same."""

    @abstractmethod
    def results(self, reference: Matrix | None) -> dict[str, Any]:
        """The matrices and rows for `results.json`; metrics are computed from them.

        reference: the accuracy matrix of the run to compare with.
        """

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """The content of `predictions.npz`."""

    def scores(self) -> dict[str, np.ndarray[Any, Any]]:
        """The content of `logits.npz`; empty unless they are kept."""
        return {}

    def curve_within(self) -> list[dict[str, Any]] | None:
        """The curve for `results.json`; None if it only has the ends of tasks."""
        if len(self.curve) == len(self.tasks):
            return None
        return [{"task": task, self.measure: row} for task, row in self.curve]

    def so_far(self, task: Task) -> list[Task]:
        """The tasks up to and including this one."""
        return self.tasks[: task.index + 1]

    def add_point(self, task: Task, row: list[float]) -> list[float]:
        """Add the row to the curve and return it."""
        self.curve.append((task.index, row))
        return row

    def add_validation_row(self, strategy: Strategy, task: Task) -> None:
        """Measure on the validation samples, if every task has some."""
        if all(len(t.validation) > 0 for t in self.tasks):
            row = [self.on(strategy, t.validation, t, task) for t in self.so_far(task)]
            self.validation.append(self.padded(row))

    def padded(self, row: Sequence[float]) -> list[float | None]:
        """The row with None for each later task."""
        return [*row, *[None] * (len(self.tasks) - len(row))]
