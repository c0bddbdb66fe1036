"""What a strategy predicts of the test samples of a task."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cl_runner.data.samples import Samples
from cl_runner.data.stream import Task
from cl_runner.errors import Diverged
from cl_runner.strategies.strategy import Strategy

CHUNK = 1000  # samples at a time


@dataclass(frozen=True)
class Predictions:
    """Of the samples of one task, in the stream's class numbering; all [N] int64."""

    labels: Tensor
    among_seen: Tensor  # the most likely of all classes seen so far
    among_own: Tensor  # the most likely of the task's own classes

    @property
    def accuracy(self) -> float:
        return (self.among_seen == self.labels).double().mean().item()

    @property
    def accuracy_task_il(self) -> float:
        return (self.among_own == self.labels).double().mean().item()


@torch.no_grad()
def predict(strategy: Strategy, samples: Samples, task: Task, seen: int) -> Predictions:
    """Predict the samples of `task` when `seen` classes are known.

    Runs in evaluation mode and leaves mode, buffers and generators as they were. Raises Diverged
    when an output is not finite: the argmax of NaNs is class 0, and a dead model looks fine.
    """
    training = strategy.training
    strategy.eval()
    among_seen, among_own = [], []
    own = slice(task.classes.start, task.classes.stop)
    for number, chunk in enumerate(samples.chunks(CHUNK)):
        scores = strategy.predict(chunk.x)[:, :seen]
        wrong = torch.nonzero(~torch.isfinite(scores).all(1)).flatten()
        if len(wrong) > 0:
            raise Diverged(
                f"diverged: the output for sample {number * CHUNK + int(wrong[0])} of task "
                f"{task.index + 1}, predicted after {seen} classes, is not finite"
            )
        among_seen.append(scores.argmax(1))
        among_own.append(scores[:, own].argmax(1) + own.start)
    strategy.train(training)
    return Predictions(samples.y, torch.cat(among_seen), torch.cat(among_own))
