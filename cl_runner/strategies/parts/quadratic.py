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

    def forward(self, parameters: Iterable[Tensor]) -> Tensor:
        penalty: Tensor = _Penalty.apply(self.weight, self.anchor, *parameters)
        return penalty + self.offset

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
    """Σᵢ wᵢ (θᵢ − aᵢ)², with its gradient 2 wᵢ (θᵢ − aᵢ) written out: autograd would read the
    parameters twice as often, and the cost of the penalty is reading them."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, anchor: Tensor, *parameters: Tensor) -> Tensor:
        distances = torch._foreach_sub(parameters, _like(parameters, anchor))
        pulls = torch._foreach_mul(distances, _like(parameters, weight))
        ctx.save_for_backward(*pulls)
        pairs = zip(pulls, distances, strict=True)
        return torch.stack([pull.view(-1).dot(d.view(-1)) for pull, d in pairs]).sum()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return None, None, *torch._foreach_mul(ctx.saved_tensors, 2 * gradients[0])


def _like(parameters: Sequence[Tensor], vector: Tensor) -> list[Tensor]:
    """The parts of a vector [P] in the shapes of the parameters."""
    parts = vector.split([parameter.numel() for parameter in parameters])
    return [part.view_as(p) for part, p in zip(parts, parameters, strict=True)]
