"""Holds the test samples, evaluates the strategy on them, and keeps what was measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from cl_runner.data.samples import Samples
from cl_runner.data.stream import SHARED, Stream, Task
from cl_runner.evaluation.predict import Predictions, predict
from cl_runner.evaluation.squared_error import RegressionEvaluator
from cl_runner.metrics import Matrix, Records, values
from cl_runner.strategies.strategy import Strategy

MEASURED = ("among_seen", "among_own", "validation", "untrained", "before", "curve")


def evaluator_of(stream: Stream) -> Evaluator | RegressionEvaluator:
    """The evaluator for this kind of stream."""
    return RegressionEvaluator(stream) if stream.scenario == "regression" else Evaluator(stream)


def metrics_are_of(scenario: str) -> str:
    """The matrix of `results.json` that metrics are read off."""
    if scenario == "regression":
        return "mse"
    return "accuracy_task_il" if scenario == "task_incremental" else "accuracy"


class Evaluator:
    """The one reader of test data. Training is the same whether and how often it evaluates."""

    measure = "accuracy"

    def __init__(self, stream: Stream) -> None:
        self.scenario = stream.scenario
        self.tasks = stream.tasks
        self.test = stream.test
        self.among_seen: Matrix = []
        self.among_own: Matrix = []
        self.validation: Matrix = []
        self.untrained: list[float] = []
        self.before: list[float | None] = []
        self.curve: list[tuple[int, list[float]]] = []
        self.predictions: dict[str, np.ndarray[Any, Any]] = {
            f"labels_of_task_{t.index + 1}": _compact(self.test[t.index].y) for t in self.tasks
        }

    def state_dict(self) -> dict[str, Any]:
        """All that has been measured; predictions as tensors."""
        arrays = {key: torch.from_numpy(value) for key, value in self.predictions.items()}
        return {name: getattr(self, name) for name in MEASURED} | {"predictions": arrays}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in MEASURED:
            setattr(self, name, state[name])
        self.predictions = {key: value.numpy() for key, value in state["predictions"].items()}

    def before_task(self, strategy: Strategy, task: Task) -> None:
        """Where tasks share classes: the accuracy on a task that has not been learned yet."""
        if self.scenario not in SHARED:
            return
        if task.first:
            self.untrained = [self._on(strategy, t, task).accuracy for t in self.tasks]
        self.before.append(None if task.first else self._on(strategy, task, task).accuracy)

    def within_task(self, strategy: Strategy, task: Task) -> list[float]:
        """Accuracies of the tasks so far in the middle of a task, for the stability gap."""
        row = [self._accuracy(self._on(strategy, t, task)) for t in self.tasks[: task.index + 1]]
        self.curve.append((task.index, row))
        return row

    def after_task(self, strategy: Strategy, task: Task) -> list[float]:
        """A row of each matrix; returns the accuracies by the scenario's own rule."""
        so_far = self.tasks[: task.index + 1]
        results = [self._on(strategy, t, task) for t in so_far]
        for t, result in zip(so_far, results, strict=True):
            key = f"after_task_{task.index + 1}_on_task_{t.index + 1}"
            self.predictions[key] = _compact(result.among_seen)
            self.predictions[f"{key}_task_il"] = _compact(result.among_own)
        self.among_seen.append(self._padded([r.accuracy for r in results]))
        self.among_own.append(self._padded([r.accuracy_task_il for r in results]))
        if all(len(t.validation) > 0 for t in self.tasks):
            held_out = [predict(strategy, t.validation, t, task.seen) for t in so_far]
            self.validation.append(self._padded([self._accuracy(p) for p in held_out]))
        row = [self._accuracy(r) for r in results]
        self.curve.append((task.index, row))
        return row

    def results(self, reference: Matrix | None) -> dict[str, Any]:
        """The part of `results.json` that is measured; see `metrics.py` for the definitions."""
        measured = metrics_are_of(self.scenario)
        R = self.among_own if measured == "accuracy_task_il" else self.among_seen
        inside = len(self.curve) > len(self.tasks)
        records = Records(
            R=R,
            sizes=[len(samples) for samples in self.test],
            curve=self.curve if inside else None,
            before=self.before or None,
            untrained=self.untrained or None,
            reference=reference,
        )
        return {
            "accuracy": self.among_seen,
            "accuracy_task_il": None if self.scenario in SHARED else self.among_own,
            "accuracy_validation": self.validation or None,
            "accuracy_reference": reference,
            "accuracy_curve": [{"task": t, "accuracy": row} for t, row in self.curve]
            if inside
            else None,
            "accuracy_before_learning": self.before or None,
            "accuracy_untrained": self.untrained or None,
            "metrics_are_of": measured,
            **values(records),
        }

    def _on(self, strategy: Strategy, tested: Task, learned: Task) -> Predictions:
        samples: Samples = self.test[tested.index]
        return predict(strategy, samples, tested, learned.seen)

    def _accuracy(self, predictions: Predictions) -> float:
        own = self.scenario == "task_incremental"
        return predictions.accuracy_task_il if own else predictions.accuracy

    def _padded(self, row: list[float]) -> list[float | None]:
        return [*row, *[None] * (len(self.tasks) - len(row))]


def _compact(classes: Tensor) -> np.ndarray[Any, Any]:
    """Class numbers in two bytes each: a run of many tasks keeps very many of them."""
    compact: np.ndarray[Any, Any] = classes.to(torch.int16).cpu().numpy()
    return compact
