"""What strategies share that compute a classifier on fixed features, and take no step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_runner.data.batches import Batch
from cl_runner.data.samples import Samples
from cl_runner.data.stream import Task
from cl_runner.errors import ConfigError, Diverged
from cl_runner.models.network import Network, evaluation_mode
from cl_runner.strategies.parts.losses import refuse_real_numbers
from cl_runner.strategies.strategy import Strategy

LOWEST = torch.finfo(torch.float32).min
"""The score of a class without a sample so far: it stays finite."""


class ClosedForm(Strategy):
    """s(x) = W φ(x) + b, where W and b are functions of sums over the samples so far.

    φ are the network's features in evaluation mode, without augmentation, perhaps expanded by the
    strategy. When a task ends, each of its samples is seen once. The sums are in double precision,
    so the order of samples and tasks does not matter. The network's own classifier is not used, and
    no weight of the network changes: that asks for a body that already has good features.
    """

    damping: ClassVar[str] = ""
    """The setting that keeps the matrix away from one without an inverse."""
    known: Tensor  # [C] bool, whether a class has had a sample
    weight: Tensor  # [C, D] float64, W
    bias: Tensor  # [C] float64, b

    def __init__(self, network: Network, name: str, width: int) -> None:
        """name: of the strategy. width: D, the length of φ. Raises ConfigError for regression, and
        for a network whose features change when the second task begins."""
        super().__init__(network)
        refuse_real_numbers(network, name)
        if network.inserted is not None:
            allowed = (
                "needs features that stay, and a layer that is inserted after the first task "
                "changes them"
            )
            raise ConfigError.of("_target_", name, allowed, "model.inserted_layer=none")
        classes = network.classes
        self.register_buffer("known", torch.zeros(classes, dtype=torch.bool))
        self.register_buffer("weight", torch.zeros(classes, width, dtype=torch.float64))
        self.register_buffer("bias", torch.zeros(classes, dtype=torch.float64))

    @abstractmethod
    def learn(self, task: Task) -> None:
        """Add the samples of the task to the sums; see `chunks`."""

    @abstractmethod
    def solution(self) -> tuple[Tensor, Tensor]:
        """W [C, D] and b [C] from the sums; not finite where they do not determine W."""

    def expanded(self, features: Tensor) -> Tensor:
        """φ [B, D] from the network's features [B, features], in double precision."""
        return features

    def turns(self, task: Task) -> int:
        return 0

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        raise AssertionError(f"{type(self).__name__} takes no step")

    @torch.no_grad()
    def end_task(self, task: Task) -> None:
        self.known[task.train.y] = True
        self.learn(task)
        weight, bias = self.solution()
        if not weight.isfinite().all():
            said = f"diverged: after task {task.index + 1} the weights of {type(self).__name__}"
            hint = f"a larger strategy.{self.damping}" if self.damping else "look at the features"
            raise Diverged(f"{said} are not finite. Hint: {hint}")
        self.weight.copy_(weight)
        self.bias.copy_(bias)

    def predict(self, x: Tensor) -> Tensor:
        """[B, C] float64: in single precision the scores of features far from zero are equal."""
        s = F.linear(self.phi(x), self.weight, self.bias)
        return s.masked_fill(~self.known, LOWEST)

    def phi(self, x: Tensor) -> Tensor:
        """[B, D] float64."""
        return self.expanded(self.network.features(x).double())

    def chunks(self, samples: Samples) -> Iterator[tuple[Tensor, Tensor]]:
        """φ [B, D] and the classes [B] of some samples at a time, all of them once."""
        with evaluation_mode(self.network):
            for chunk in samples.chunks(1000):
                yield self.phi(chunk.x), chunk.y


def damped_solution(A: Tensor, damping: float, B: Tensor) -> Tensor:
    """(A + damping · I)⁻¹ B, [D, C]. Not finite if the damping is too small for a singular A."""
    damped = A.clone()
    damped.diagonal().add_(damping)
    W: Tensor = torch.linalg.solve_ex(damped, B)[0]
    return W
