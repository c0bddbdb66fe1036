"""Classification: accuracies, under both rules for which classes compete."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from cl_runner.data.samples import Samples
from cl_runner.data.stream import Stream, Task
from cl_runner.evaluation.evaluator import Evaluator
from cl_runner.evaluation.predict import Predictions, predict
from cl_runner.metrics import Matrix
from cl_runner.strategies.strategy import Strategy


class Accuracy(Evaluator):
    """The share of samples whose class is predicted correctly, once among all classes seen so far
    and once among the classes of the task. The scenario decides which of the two is reported."""

    measure = "accuracy"
    kept = (*Evaluator.kept, "among_seen", "among_own", "untrained", "before", "predictions")

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream)
        self.among_seen: Matrix = []
        self.among_own: Matrix = []
        self.untrained: list[float] = []
        self.before: list[float | None] = []
        self.predictions: dict[str, Tensor] = {}  # class numbers, for each element of the matrices

    def on(self, strategy: Strategy, samples: Samples, tested: Task, learned: Task) -> float:
        return self._accuracy(predict(strategy, samples, tested, learned.seen))

    def before_task(self, strategy: Strategy, task: Task) -> None:
        """Where tasks share classes, measure the accuracy on a task before it is learned."""
        if not self.outline.shared:
            return
        if task.first:
            self.untrained = [self.on(strategy, self.test[t.index], t, task) for t in self.tasks]
        before = None if task.first else self.on(strategy, self.test[task.index], task, task)
        self.before.append(before)

    def within_task(self, strategy: Strategy, task: Task) -> list[float]:
        row = [self.on(strategy, self.test[t.index], t, task) for t in self.so_far(task)]
        return self.add_point(task, row)

    def after_task(self, strategy: Strategy, task: Task) -> list[float]:
        row = [predict(strategy, self.test[t.index], t, task.seen) for t in self.so_far(task)]
        for number, result in enumerate(row, start=1):
            key = f"after_task_{task.index + 1}_on_task_{number}"
            self.predictions[key] = _compact(result.among_seen)
            self.predictions[f"{key}_task_il"] = _compact(result.among_own)
        self.among_seen.append(self.padded([r.accuracy for r in row]))
        self.among_own.append(self.padded([r.accuracy_task_il for r in row]))
        self.add_validation_row(strategy, task)
        return self.add_point(task, [self._accuracy(r) for r in row])

    def results(self, reference: Matrix | None) -> dict[str, Any]:
        return {
            "accuracy": self.among_seen,
            "accuracy_task_il": None if self.outline.shared else self.among_own,
            "accuracy_validation": self.validation or None,
            "accuracy_reference": reference,
            "accuracy_curve": self.curve_within(),
            "accuracy_before_learning": self.before or None,
            "accuracy_untrained": self.untrained or None,
            "metrics_are_of": self.outline.matrix,
        }

    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        labels = {
            f"labels_of_task_{number}": _compact(samples.y)
            for number, samples in enumerate(self.test, start=1)
        }
        return {key: value.numpy() for key, value in (labels | self.predictions).items()}

    def _accuracy(self, predictions: Predictions) -> float:
        own = self.outline.matrix == "accuracy_task_il"
        return predictions.accuracy_task_il if own else predictions.accuracy


def _compact(classes: Tensor) -> Tensor:
    """Class numbers in two bytes each: a run of many tasks stores very many of them."""
    return classes.to("cpu", torch.int16)
