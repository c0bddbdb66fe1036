"""Regression: mean squared errors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cl_runner.data.samples import Samples
from cl_runner.data.stream import Stream, Task
from cl_runner.evaluation.evaluator import Evaluator, Keep
from cl_runner.evaluation.predict import outputs
from cl_runner.metrics import Matrix
from cl_runner.strategies.strategy import Strategy


class SquaredError(Evaluator):
    """The mean squared error on a task's test targets. Each evaluation also predicts later tasks,
    so that the function can be drawn over the whole range (`fits`, in `predictions.npz`)."""

    measure = "mse"
    kept = (*Evaluator.kept, "mse", "fits")

    def __init__(self, stream: Stream, keep: Keep = "predictions") -> None:
        super().__init__(stream, keep)
        self.mse: Matrix = []
        self.fits: list[Tensor] = []  # at each point of the curve, [N] over all test samples

    def on(self, strategy: Strategy, samples: Samples, tested: Task, learned: Task) -> float:
        return _mse(_values(strategy, samples, tested), samples)

    def within_task(self, strategy: Strategy, task: Task) -> list[float]:
        fits = [_values(strategy, self.test[t.index], t) for t in self.tasks]
        self.fits.append(torch.cat(fits).cpu())
        row = [_mse(fits[t.index], self.test[t.index]) for t in self.so_far(task)]
        return self.add_point(task, row)

    def after_task(self, strategy: Strategy, task: Task) -> list[float]:
        row = self.within_task(strategy, task)
        self.mse.append(self.padded(row))
        self.add_validation_row(strategy, task)
        return row

    def results(self, reference: Matrix | None) -> dict[str, Any]:
        return {
            "mse": self.mse,
            "mse_validation": self.validation or None,
            "mse_curve": self.curve_within(),
            "metrics_are_of": self.outline.matrix,
        }

    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """The data, and `fits` [evaluations, N] at `inputs` [N]."""
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


def _values(strategy: Strategy, samples: Samples, task: Task) -> Tensor:
    """f(x) for samples of a task, [N]."""
    return outputs(strategy, samples, task, seen=1)[:, 0]


def _mse(values: Tensor, samples: Samples) -> float:
    return F.mse_loss(values.double(), samples.y.double()).item()


def _flat(tensors: Iterable[Tensor]) -> np.ndarray[Any, Any]:
    flat: np.ndarray[Any, Any] = torch.cat([t.flatten() for t in tensors]).cpu().numpy()
    return flat
