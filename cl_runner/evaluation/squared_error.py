"""Real numbers: the evaluator of squared errors.

M[t][k] is the mean squared error on task k's test targets after learning task t, None above the
diagonal; T is the number of tasks. A metric that does not apply is None, never 0 or NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cl_runner.data.samples import Samples
from cl_runner.data.stream import Stream, Task
from cl_runner.evaluation.evaluator import Evaluator
from cl_runner.evaluation.predict import outputs
from cl_runner.metrics import Matrix, Records
from cl_runner.metrics import values as metrics_of
from cl_runner.strategies.strategy import Strategy


class SquaredError(Evaluator):
    """All tasks are predicted at each evaluation, those to come too, so that the function can be
    drawn over the whole range (`fits`, in `predictions.npz`)."""

    measure = "mse"
    kept = ("mse", "fits")

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream)
        self.mse: Matrix = []
        self.fits: list[Tensor] = []  # at each point of the curve, [N] over the tests of all tasks

    def on(self, strategy: Strategy, samples: Samples, tested: Task, learned: Task) -> float:
        return _mse(_values(strategy, samples, tested), samples)

    def before_task(self, strategy: Strategy, task: Task) -> None:
        """Nothing is measured before a task."""

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
        inside = self.evaluated_within
        curve = [{"task": t, "mse": row} for t, row in self.curve]
        return {
            "mse": self.mse,
            "mse_validation": self.validation or None,
            "mse_curve": curve if inside else None,
            "metrics_are_of": self.outline.matrix,
            **metrics_of(Records(M=self.mse)),
        }

    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
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


def _values(strategy: Strategy, samples: Samples, task: Task) -> Tensor:
    """f(x) of samples of a task, [N]."""
    return outputs(strategy, samples, task, seen=1)[:, 0]


def _mse(values: Tensor, samples: Samples) -> float:
    return F.mse_loss(values.double(), samples.y.double()).item()


def _flat(tensors: Any) -> np.ndarray[Any, Any]:
    flat: np.ndarray[Any, Any] = torch.cat([t.flatten() for t in tensors]).cpu().numpy()
    return flat
