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

    def forward(self, parameters: Sequence[Tensor]) -> Tensor:
        penalty, _ = self.with_pulls(parameters)
        return penalty

    def with_pulls(self, parameters: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The penalty, and half its gradient, Wᵢ (θᵢ − aᵢ), in the shapes of the parameters."""
        penalty, *pulls = _Penalty.apply(self.weight, self.anchor, *parameters)
        return penalty + self.offset, pulls

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
    """Σᵢ wᵢ (θᵢ − aᵢ)² and wᵢ (θᵢ − aᵢ), with the gradient of the first written out: autograd would
    read the parameters twice as often, and the cost of the penalty is reading them."""

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, anchor: Tensor, *parameters: Tensor
    ) -> tuple[Tensor, ...]:
        distances = torch._foreach_sub(parameters, in_shapes_of(parameters, anchor))
        pulls = torch._foreach_mul(distances, in_shapes_of(parameters, weight))
        ctx.save_for_backward(*pulls)
        ctx.mark_non_differentiable(*pulls)
        ctx.set_materialize_grads(False)  # there are none of the pulls
        pairs = zip(pulls, distances, strict=True)
        return torch.stack([pull.view(-1).dot(d.view(-1)) for pull, d in pairs]).sum(), *pulls

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        pulls = ctx.saved_tensors
        if gradients[0] is None:
            return None, None, *[None] * len(pulls)
        return None, None, *torch._foreach_mul(pulls, 2 * gradients[0])


def in_shapes_of(parameters: Sequence[Tensor], vector: Tensor) -> list[Tensor]:
    """The parts of a vector [P] in the shapes of the parameters. They share its memory."""
    parts = vector.split([parameter.numel() for parameter in parameters])
    return [part.view_as(p) for part, p in zip(parts, parameters, strict=True)]
