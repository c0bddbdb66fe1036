"""Classification: accuracies, under both rules for which classes compete."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cl_runner.data.samples import Samples
from cl_runner.data.stream import Stream, Task
from cl_runner.evaluation.evaluator import Evaluator, Keep
from cl_runner.evaluation.predict import Predictions, predict
from cl_runner.metrics import Matrix
from cl_runner.strategies.strategy import Strategy

OWN = "_task_il"
"""Ends the name of predictions among the task's own classes."""


class Accuracy(Evaluator):
    """The share of samples whose class is predicted correctly, once among all classes seen so far
    and once among the classes of the task. The scenario decides which of the two is reported."""

    measure = "accuracy"
    kept = (*Evaluator.kept, "among_seen", "among_own", "untrained", "before", "predictions")

    def __init__(self, stream: Stream, keep: Keep = "predictions") -> None:
        super().__init__(stream, keep)
        self.among_seen: Matrix = []
        self.among_own: Matrix = []
        self.untrained: list[float] = []
        self.before: list[float | None] = []
        self.predictions: dict[str, Tensor] = {}  # after each task on each so far, class numbers
        # One block for all of them: small ones made between large ones that are freed would
        # leave a heap of holes, several times as large. Untouched memory takes none.
        so_far = accumulate(len(samples) for samples in self.test)
        kind = torch.uint8 if self.outline.classes <= 256 else torch.int16
        self.room = torch.zeros(sum(so_far) * (1 if self.outline.shared else 2), dtype=kind)
        self.used = 0
        self.logits: dict[str, Tensor] = {}  # with `keep=logits`: [N, seen] float32 each

    def state_dict(self) -> dict[str, Any]:
        """Of the block what is used."""
        used = self.room[: self.used].clone()
        predictions = {
            key: used[value.storage_offset() :][: len(value)]
            for key, value in self.predictions.items()
        }
        kept = {"logits": dict(self.logits)} if self.keep == "logits" else {}
        return super().state_dict() | {"predictions": predictions} | kept

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.logits = dict(state.get("logits", {}))
        self.predictions, self.used = {}, 0
        for key, seen in state["predictions"].items():
            if not key.endswith(OWN):
                self._keep(key, seen, state["predictions"][key + OWN])

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
        """A row of each matrix; returns the accuracies by the scenario's own rule."""
        row, among_seen, among_own = [], [], []
        for number, tested in enumerate(self.so_far(task), start=1):
            result = predict(strategy, self.test[tested.index], tested, task.seen)
            key = f"after_task_{task.index + 1}_on_task_{number}"
            self._keep(key, result.among_seen, result.among_own)
            if self.keep == "logits":
                self.logits[key] = result.scores.to("cpu", torch.float32)
            row.append(self._accuracy(result))
            among_seen.append(result.accuracy)
            among_own.append(result.accuracy_task_il)
        self.among_seen.append(self.padded(among_seen))
        self.among_own.append(self.padded(among_own))
        self.add_validation_row(strategy, task)
        return self.add_point(task, row)

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
            f"labels_of_task_{number}": samples.y.cpu()
            for number, samples in enumerate(self.test, start=1)
        }
        found = labels | self.predictions
        return {key: value.to(torch.int16).numpy() for key, value in found.items()}

    def scores(self) -> dict[str, np.ndarray[Any, Any]]:
        return {key: value.numpy() for key, value in self.logits.items()}

    def _keep(self, key: str, seen: Tensor, own: Tensor) -> None:
        """Where tasks share classes, a task's own are all: held once."""
        self.predictions[key] = kept = self._put(seen)
        self.predictions[key + OWN] = kept if self.outline.shared else self._put(own)

    def _put(self, classes: Tensor) -> Tensor:
        place = self.room[self.used : self.used + len(classes)]
        self.used += len(classes)
        return place.copy_(classes)

    def _accuracy(self, predictions: Predictions) -> float:
        own = self.outline.matrix == "accuracy_task_il"
        return predictions.accuracy_task_il if own else predictions.accuracy
