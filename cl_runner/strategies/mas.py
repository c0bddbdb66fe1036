"""Memory aware synapses: what the outputs depend on is held."""

from functools import reduce
from operator import add
from typing import Literal

import torch
from torch import Tensor

from cl_runner.config.setting_types import NonNegative, PositiveInt, UnitInterval
from cl_runner.data.batches import Batch
from cl_runner.data.samples import Samples
from cl_runner.data.stream import Task
from cl_runner.models.network import Network, evaluation_mode
from cl_runner.strategies.parts import per_sample
from cl_runner.strategies.parts.gradients import flat
from cl_runner.strategies.parts.losses import task_loss
from cl_runner.strategies.parts.quadratic import Quadratic
from cl_runner.strategies.strategy import Strategy


class MAS(Strategy):
    """L(θ) = CE(θ) + weight · Σᵢ Ωᵢ (θᵢ − θ*ᵢ)²,   Ω ← decay · Ω + meanₙ |∂ ‖f(xₙ)‖² / ∂θᵢ|

    Aljundi et al. 2018, arXiv:1711.09601, eq. 3 and 4, with decay = 1. θ* are the weights before
    the task. f are the outputs that compete for the sample; labels are not used.

    - `importance`: `per_sample`, as above, or `batch`: the mean over batches of |∂ m / ∂θᵢ|, m the
      mean of f² over the samples of a batch and the outputs. There the gradients of samples cancel;
      Hsu et al. 2018 and (with decay = 0) Chaudhry et al. 2019 published with that
    - `importance_samples`: how many training samples it is estimated from (null: all of them)
    """

    shares_first_task = True

    def __init__(
        self,
        network: Network,
        *,
        weight: NonNegative,
        decay: UnitInterval,
        importance: Literal["per_sample", "batch"],
        importance_samples: PositiveInt | None,
        importance_batch_size: PositiveInt,
    ) -> None:
        super().__init__(network)
        self.weight, self.decay, self.importance = weight, decay, importance
        self.samples, self.batch_size = importance_samples, importance_batch_size
        self.springs = Quadratic(network.trainable)  # Ω, anchored at θ*

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        terms = {"task": task_loss(self.network(batch.x), batch)}
        if not batch.task.first:
            terms["mas"] = self.springs(self.network.trainable, self.weight)
        return terms

    def end_task(self, task: Task) -> None:
        samples = task.random_training_samples(self.samples, "importance samples")
        estimate = {"per_sample": sensitivity, "batch": batch_sensitivity}[self.importance]
        with evaluation_mode(self.network):
            omega = estimate(self.network, samples, task, self.batch_size)
        self.springs.replace(self.decay * self.springs.weight + omega, self.network.theta)

    def curvature(self) -> float:
        return 2 * self.weight * self.springs.weight.max().item()


def sensitivity(network: Network, samples: Samples, task: Task, _: int) -> Tensor:
    """Mean over samples of |∂ ‖f(x)‖² / ∂θ|, [P]."""

    def over(part: Samples, classes: range) -> Tensor:
        def squared_norm(outputs: Tensor, _: Tensor) -> Tensor:
            return _of(outputs, classes).square().sum()

        return per_sample.sum_of_gradients(torch.abs, squared_norm, network, part.x, part.y)

    size = per_sample.chunk_size(network, samples)
    parts = task.by_candidates(samples)
    sums = (over(chunk, classes) for part, classes in parts for chunk in part.chunks(size))
    return reduce(add, sums) / len(samples)


def batch_sensitivity(network: Network, samples: Samples, task: Task, size: int) -> Tensor:
    """Mean over batches of |∂/∂θ of the mean of f(x)² over samples and outputs|, [P]."""

    def over(batch: Samples) -> Tensor:
        parts = task.by_candidates(batch)
        squares = [_of(network(part.x), classes).square().flatten() for part, classes in parts]
        mean, theta = torch.cat(squares).mean(), network.trainable
        return flat(torch.autograd.grad(mean, theta, allow_unused=True), theta).abs()

    batches = list(samples.chunks(size))
    return reduce(add, map(over, batches)) / len(batches)


def _of(outputs: Tensor, classes: range) -> Tensor:
    return outputs[..., classes.start : classes.stop]
