"""The likelihood p(y | x) that a network's outputs define: of classes, or of real numbers.

Everything that depends on the kind of target is here. Other code asks its outline, its task or its
network for the likelihood. B samples, C outputs of the network. `candidates` are the outputs that
compete for a sample; real numbers have one output and ignore them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F


class Likelihood(ABC):
    """p(y | x). Without state: one object serves all tasks."""

    measure: ClassVar[str]  # how well y is predicted: a name in `measures.py`
    inputs: ClassVar[torch.dtype]  # of samples as they are stored
    targets: ClassVar[torch.dtype]

    @abstractmethod
    def loss(self, outputs: Tensor, y: Tensor, competing: Tensor | None) -> Tensor:
        """Mean over the batch of −log p(y | x), up to a constant. outputs: [B, C], y: [B].

        competing: [C, C], whose row y is added to the outputs of a sample; None: all compete.
        """

    @abstractmethod
    def distillation(
        self,
        student: Tensor,
        teacher: Tensor,
        groups: Sequence[range],
        T: float,
        t_squared: bool,
        class_mean: bool = False,
    ) -> Tensor:
        """Distance of the student's p from the teacher's, mean over the batch. Outputs: [B, C].

        groups: the outputs that compete with each other. class_mean: divide by their number.
        """

    @abstractmethod
    def log_p(self, outputs: Tensor, y: Tensor, candidates: range) -> Tensor:
        """log p(y | x) of every pair, up to a constant: outputs [..., C], y [...]."""

    @abstractmethod
    def sample(self, outputs: Tensor, candidates: range, draw: torch.Generator) -> Tensor:
        """One y for each x, drawn from p(y | x): [B] from outputs [B, C]. draw: on the CPU."""

    @abstractmethod
    def mode(self, outputs: Tensor, candidates: range) -> Tensor:
        """The most likely y for each x: [B] from outputs [B, C]."""

    @abstractmethod
    def support(self, outputs: Tensor, candidates: range) -> Iterator[tuple[Tensor, Tensor]]:
        """Values of y with their probabilities, both [B]. Weighted by them, a sum over these values
        is the expectation of the squared gradient of log p(y | x). outputs: [B, C]."""

    @abstractmethod
    def kinds(self, y: Tensor) -> Tensor:
        """[B]: the kind of each target. A split or a memory keeps a fair share of each kind."""

    @abstractmethod
    def is_certain(self, candidates: range) -> bool:
        """Whether p(y | x) is 1 for any outputs, so that there is nothing to learn."""


class Categorical(Likelihood):
    """p(y | x) = softmax(f(x))_y over the classes that compete."""

    measure = "accuracy"
    inputs, targets = torch.uint8, torch.int64

    def loss(self, outputs: Tensor, y: Tensor, competing: Tensor | None) -> Tensor:
        """Cross-entropy."""
        if competing is not None:
            outputs = outputs + competing[y]
        return F.cross_entropy(outputs, y)

    def distillation(
        self,
        student: Tensor,
        teacher: Tensor,
        groups: Sequence[range],
        T: float,
        t_squared: bool,
        class_mean: bool = False,
    ) -> Tensor:
        """T² · KL(softmax(teacher / T) ‖ softmax(student / T)), summed over the groups.

        Without T² the gradient shrinks as 1/T² (Hinton et al. 2015, section 2).
        """
        divergence = student.new_zeros(())
        for group in groups:
            kl = F.kl_div(
                F.log_softmax(_of(student, group) / T, dim=1),
                F.log_softmax(_of(teacher, group) / T, dim=1),
                reduction="batchmean",
                log_target=True,
            )
            divergence = divergence + (kl / len(group) if class_mean else kl)
        return T**2 * divergence if t_squared else divergence

    def log_p(self, outputs: Tensor, y: Tensor, candidates: range) -> Tensor:
        log_p = F.log_softmax(_of(outputs, candidates), dim=-1)
        return log_p.gather(-1, (y - candidates.start)[..., None])[..., 0]

    def sample(self, outputs: Tensor, candidates: range, draw: torch.Generator) -> Tensor:
        p = F.softmax(_of(outputs, candidates), dim=1)
        drawn = torch.multinomial(p.cpu(), 1, generator=draw).flatten().to(outputs.device)
        return drawn + candidates.start

    def mode(self, outputs: Tensor, candidates: range) -> Tensor:
        return _of(outputs, candidates).argmax(1) + candidates.start

    def support(self, outputs: Tensor, candidates: range) -> Iterator[tuple[Tensor, Tensor]]:
        """Every class that competes."""
        p = F.softmax(_of(outputs, candidates), dim=1)
        for c in candidates:
            yield torch.full_like(p[:, 0], c, dtype=torch.int64), p[:, c - candidates.start]

    def kinds(self, y: Tensor) -> Tensor:
        """The classes."""
        return y

    def is_certain(self, candidates: range) -> bool:
        """A single class is always predicted."""
        return len(candidates) == 1


class Gaussian(Likelihood):
    """p(y | x) = N(y; f(x), ½): −log p is the squared error, up to a constant. One output."""

    measure = "mse"
    inputs, targets = torch.float32, torch.float32
    deviation = 0.5**0.5

    def loss(self, outputs: Tensor, y: Tensor, competing: Tensor | None) -> Tensor:
        """Mean over the batch of (y − f(x))²."""
        return F.mse_loss(outputs.squeeze(1), y)

    def distillation(
        self,
        student: Tensor,
        teacher: Tensor,
        groups: Sequence[range],
        T: float,
        t_squared: bool,
        class_mean: bool = False,
    ) -> Tensor:
        """Mean squared difference of the outputs, which distillation of classes approaches for
        large T (Hinton et al. 2015, section 2.1)."""
        return F.mse_loss(student, teacher)

    def log_p(self, outputs: Tensor, y: Tensor, candidates: range) -> Tensor:
        return -(y - outputs[..., 0]).square()

    def sample(self, outputs: Tensor, candidates: range, draw: torch.Generator) -> Tensor:
        noise = torch.randn(len(outputs), generator=draw).to(outputs.device)
        return outputs[:, 0] + self.deviation * noise

    def mode(self, outputs: Tensor, candidates: range) -> Tensor:
        return outputs[:, 0]

    def support(self, outputs: Tensor, candidates: range) -> Iterator[tuple[Tensor, Tensor]]:
        """One y, a standard deviation away, stands for all: the squared gradient is proportional to
        (y − f(x))²."""
        yield outputs[:, 0] + self.deviation, torch.ones_like(outputs[:, 0])

    def kinds(self, y: Tensor) -> Tensor:
        """Real numbers are all of one kind."""
        return torch.zeros_like(y)

    def is_certain(self, candidates: range) -> bool:
        return False


CATEGORICAL, GAUSSIAN = Categorical(), Gaussian()


def _of(outputs: Tensor, classes: range) -> Tensor:
    """[..., C] → [..., classes]"""
    return outputs[..., classes.start : classes.stop]
