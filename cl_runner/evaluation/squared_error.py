"""Regression: the evaluator that keeps errors where that of classes keeps accuracies.

M[t][k] is the mean squared error on task k's test targets after learning task t, None above the
diagonal; T is the number of tasks. A metric that does not apply is None, never 0 or NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cl_runner.data.samples import Samples
from cl_runner.data.stream import Stream, Task
from cl_runner.errors import Diverged
from cl_runner.evaluation.predict import CHUNK
from cl_runner.metrics import Matrix, Records
from cl_runner.metrics import values as metrics_of
from cl_runner.strategies.strategy import Strategy

MEASURED = ("mse", "validation", "curve", "fits")


class RegressionEvaluator:
    """The one reader of test data. All tasks are predicted at each evaluation, also those to come,
    so that the function can be drawn over the whole range (`fits`, in `predictions.npz`)."""

    measure = "mse"

    def __init__(self, stream: Stream) -> None:
        self.tasks, self.test = stream.tasks, stream.test
        self.mse: Matrix = []
        self.validation: Matrix = []
        self.curve: list[tuple[int, list[float]]] = []
        self.fits: list[Tensor] = []  # at each point of the curve, [N] over the tests of all tasks

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in MEASURED}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in MEASURED:
            setattr(self, name, state[name])

    def before_task(self, strategy: Strategy, task: Task) -> None:
        """Nothing is measured before a task."""

    def within_task(self, strategy: Strategy, task: Task) -> list[float]:
        """Errors of the tasks so far."""
        found = [values(strategy, samples, task) for samples in self.test]
        self.fits.append(torch.cat(found).cpu())
        row = [_mse(v, s) for v, s in zip(found[: task.index + 1], self.test, strict=False)]
        self.curve.append((task.index, row))
        return row

    def after_task(self, strategy: Strategy, task: Task) -> list[float]:
        """A row of the matrix."""
        row = self.within_task(strategy, task)
        so_far = self.tasks[: task.index + 1]
        self.mse.append(self._padded(row))
        if all(len(t.validation) > 0 for t in self.tasks):
            held_out = [_mse(values(strategy, t.validation, task), t.validation) for t in so_far]
            self.validation.append(self._padded(held_out))
        return row

    def results(self, reference: Matrix | None) -> dict[str, Any]:
        """The part of `results.json` that is measured."""
        inside = len(self.curve) > len(self.tasks)
        curve = [{"task": t, "mse": row} for t, row in self.curve]
        return {
            "mse": self.mse,
            "mse_validation": self.validation or None,
            "mse_curve": curve if inside else None,
            "metrics_are_of": "mse",
            **metrics_of(Records(M=self.mse)),
        }

    @property
    def predictions(self) -> dict[str, np.ndarray[Any, Any]]:
        """What `predictions.npz` holds: the data, and `fits` [evaluations, N] at `inputs` [N]."""
        train = [task.train for task in self.tasks]
        return {
            "inputs": _flat(s.raw for s in self.test),
            "targets": _flat(s.y for s in self.test),
            "tasks": np.repeat(np.arange(len(self.test)), [len(s) for s in self.test]),
            "training_inputs": _flat(s.raw for s in train),
            "training_targets": _flat(s.y for s in train),
            "training_tasks": np.repeat(np.arange(len(train)), [len(s) for s in train]),
            "fits": torch.stack(self.fits).numpy(),
            "fits_in_task": np.array([task for task, _ in self.curve]),
        }

    def _padded(self, row: Sequence[float]) -> list[float | None]:
        return [*row, *[None] * (len(self.tasks) - len(row))]


@torch.no_grad()
def values(strategy: Strategy, samples: Samples, learning: Task) -> Tensor:
    """f(x) of some samples, [N], in evaluation mode. Raises Diverged when one is not finite."""
    training = strategy.training
    strategy.eval()
    found = torch.cat([strategy.predict(chunk.x)[:, 0] for chunk in samples.chunks(CHUNK)])
    strategy.train(training)
    if not torch.isfinite(found).all():
        where = f"while task {learning.index + 1} is learned"
        raise Diverged(f"diverged: an output is not finite {where}")
    return found


def _mse(found: Tensor, samples: Samples) -> float:
    return F.mse_loss(found.double(), samples.y.double()).item()


def _flat(tensors: Any) -> np.ndarray[Any, Any]:
    flat: np.ndarray[Any, Any] = torch.cat([t.flatten() for t in tensors]).cpu().numpy()
    return flat


def _row(M: Matrix, t: int) -> list[float]:
    return [error for error in M[t] if error is not None]
