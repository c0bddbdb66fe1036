"""A sum of quadratic penalties stored as one: the springs of EWC and its relatives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector


class Quadratic(nn.Module):
    """Σₜ Σᵢ wₜᵢ (θᵢ − θₜᵢ)² = Σᵢ Wᵢ (θᵢ − aᵢ)² + offset, with W = Σₜ wₜ and W a = Σₜ wₜ θₜ.

    So any number of penalties costs as much as one, in time and in memory. All vectors are [P], the
    network's trainable parameters one after another.
    """

    weight: Tensor
    anchor: Tensor
    offset: Tensor

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        super().__init__()
        zeros = torch.zeros_like(parameters_to_vector(parameters))
        self.register_buffer("weight", zeros)
        self.register_buffer("anchor", zeros.clone())
        self.register_buffer("offset", torch.zeros(()))

    def forward(self, parameters: Sequence[Tensor], strength: float = 1.0) -> Tensor:
        """strength · the sum."""
        return self._scaled(strength, parameters)[0]

    def with_pulls(self, parameters: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The sum, and half its gradient, Wᵢ (θᵢ − aᵢ), in the shapes of the parameters."""
        half, *pulls = self._scaled(0.5, parameters)
        return 2 * half, pulls

    def _scaled(self, strength: float, parameters: Sequence[Tensor]) -> list[Tensor]:
        """strength · the sum, and the gradient of that."""
        return list(_Penalty.apply(strength, self.weight, self.anchor, self.offset, *parameters))

    @torch.no_grad()
    def add(self, weight: Tensor, theta: Tensor) -> None:
        """Add the penalty Σᵢ weightᵢ (· − θᵢ)²."""
        total = self.weight + weight
        share = torch.where(total > 0, weight / total, 1.0)  # of the new penalty in each spring
        self.offset += (self.weight * share).dot((theta - self.anchor).square())
        self.anchor += share * (theta - self.anchor)
        self.weight.copy_(total)

    @torch.no_grad()
    def replace(self, weight: Tensor, theta: Tensor) -> None:
        """Keep only the penalty Σᵢ weightᵢ (· − θᵢ)², and forget earlier ones."""
        self.weight.copy_(weight)
        self.anchor.copy_(theta)
        self.offset.zero_()


class _Penalty(torch.autograd.Function):
    """strength · (Σᵢ wᵢ (θᵢ − aᵢ)² + offset), and its gradient, written out and scaled where it is
    made: the cost of the penalty is reading vectors, and autograd would read them more often."""

    @staticmethod
    def forward(
        ctx: Any, strength: float, weight: Tensor, anchor: Tensor, offset: Tensor, *theta: Tensor
    ) -> tuple[Tensor, ...]:
        distances = torch._foreach_sub(theta, in_shapes_of(theta, anchor))
        pulls = torch._foreach_mul(distances, in_shapes_of(theta, weight))
        pairs = zip(pulls, distances, strict=True)
        total = torch.stack([pull.view(-1).dot(d.view(-1)) for pull, d in pairs]).sum()
        if strength != 0.5:
            torch._foreach_mul_(pulls, 2 * strength)
        ctx.save_for_backward(*pulls)
        ctx.mark_non_differentiable(*pulls)
        ctx.set_materialize_grads(False)  # there are none of the pulls
        return strength * (total + offset), *pulls

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        pulls, outer = ctx.saved_tensors, gradients[0]
        if outer is None:
            pulls = [None] * len(pulls)
        elif not (outer.is_cpu and outer == 1):  # on a GPU to look would be to wait
            pulls = torch._foreach_mul(pulls, outer)
        return None, None, None, None, *pulls


def in_shapes_of(parameters: Sequence[Tensor], vector: Tensor) -> list[Tensor]:
    """The parts of a vector [P] in the shapes of the parameters. They share its memory."""
    parts = vector.split([parameter.numel() for parameter in parameters])
    return [part.view_as(p) for part, p in zip(parts, parameters, strict=True)]
