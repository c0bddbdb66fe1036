"""What a strategy predicts for the samples of a task."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cl_runner.data.samples import Samples
from cl_runner.data.stream import Task
from cl_runner.errors import Diverged
from cl_runner.models.network import evaluation_mode
from cl_runner.strategies.strategy import Strategy

CHUNK = 1000  # samples at a time


@dataclass(frozen=True)
class Predictions:
    """For the samples of one task, in the stream's class numbers; all but scores [N] int64."""

    labels: Tensor
    among_seen: Tensor  # the most likely among all classes seen so far
    among_own: Tensor  # the most likely among the classes of the task
    scores: Tensor  # [N, seen], from which both were chosen

    @property
    def accuracy(self) -> float:
        return (self.among_seen == self.labels).double().mean().item()

    @property
    def accuracy_task_il(self) -> float:
        return (self.among_own == self.labels).double().mean().item()


def predict(strategy: Strategy, samples: Samples, task: Task, seen: int) -> Predictions:
    """The predicted classes of samples of `task`, when `seen` classes are known; see `outputs`."""
    scores = outputs(strategy, samples, task, seen)
    own = scores[:, task.classes.start : task.classes.stop]
    return Predictions(samples.y, scores.argmax(1), own.argmax(1) + task.classes.start, scores)


@torch.no_grad()
def outputs(strategy: Strategy, samples: Samples, task: Task, seen: int) -> Tensor:
    """The first `seen` outputs for samples of `task`, [N, seen].

    Runs in evaluation mode and leaves mode, buffers and generators as they were. Raises Diverged
    if an output is not finite: the argmax of NaNs is class 0, so a dead model would look fine.
    """
    with evaluation_mode(strategy):
        chunks = [strategy.predict(chunk.x)[:, :seen] for chunk in samples.chunks(CHUNK)]
    result = torch.cat(chunks)
    wrong = torch.nonzero(~torch.isfinite(result).all(1)).flatten()
    if len(wrong) > 0:
        place = f"sample {int(wrong[0])} of task {task.index + 1}"
        raise Diverged(f"diverged: the output for {place} is not finite")
    return result
