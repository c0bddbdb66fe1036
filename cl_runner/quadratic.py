"""A sum of quadratic penalties kept as one: the springs of EWC and its relatives."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cl_runner.losses import quadratic_penalty


class Quadratic(nn.Module):
    """Σₜ Σᵢ wₜᵢ (θᵢ − θₜᵢ)² = Σᵢ Wᵢ (θᵢ − aᵢ)² + offset, with W = Σₜ wₜ and W a = Σₜ wₜ θₜ.

    So any number of penalties costs as much as one, in time and in memory. All vectors are [P],
    the network's parameters one after another.
    """

    weight: Tensor
    anchor: Tensor
    offset: Tensor

    def __init__(self, theta: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros_like(theta))
        self.register_buffer("anchor", torch.zeros_like(theta))
        self.register_buffer("offset", torch.zeros(()))

    def forward(self, theta: Tensor) -> Tensor:
        return quadratic_penalty(theta, self.anchor, self.weight) + self.offset

    @torch.no_grad()
    def add(self, weight: Tensor, theta: Tensor) -> None:
        """One more penalty: Σᵢ weightᵢ (· − θᵢ)²."""
        total = self.weight + weight
        share = torch.where(total > 0, weight / total, 1.0)  # of the new one in each spring
        self.offset += (self.weight * share).dot((theta - self.anchor).square())
        self.anchor += share * (theta - self.anchor)
        self.weight.copy_(total)

    @torch.no_grad()
    def replace(self, weight: Tensor, theta: Tensor) -> None:
        """Forget the earlier penalties: only Σᵢ weightᵢ (· − θᵢ)² is left."""
        self.weight.copy_(weight)
        self.anchor.copy_(theta)
        self.offset.zero_()
