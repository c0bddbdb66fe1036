"""Classification by the nearest class mean of features, in place of the outputs."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def distances_to(means: Tensor, features: Tensor) -> Tensor:
    """[B, C] from means [C, D] and features [B, D]. Not by a matrix product, whose rounding depends
    on the number of rows."""
    distances: Tensor = torch.cdist(features, means, compute_mode="donot_use_mm_for_euclid_dist")
    return distances


class NearestMean(nn.Module):
    """A sample belongs to the class with the nearest mean, features and means of length one.

    Rebuffi et al. 2017, arXiv:1611.07725, algorithm 1, as Mai et al. 2021, arXiv:2103.13885, use it
    after any training with a memory. C classes, D features.
    """

    means: Tensor  # [C, D] of length one
    known: Tensor  # [C] bool, whether a class has a mean
    current: Tensor  # bool, whether the network is as it was when they were measured

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.register_buffer("means", torch.zeros(classes, width))
        self.register_buffer("known", torch.zeros(classes, dtype=torch.bool))
        self.register_buffer("current", torch.tensor(False))

    def forward(self, features: Tensor) -> Tensor:
        """[B, C] from features [B, D]: minus the distance to each mean; the lowest finite number
        for a class without one."""
        distances = distances_to(self.means, F.normalize(features, dim=1))
        return (-distances).masked_fill(~self.known, torch.finfo(distances.dtype).min)

    def measure(self, parts: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Take the means of features [B, D] and classes [B], part by part. A class without a sample
        keeps the mean that it has."""
        sums = torch.zeros(self.means.shape, dtype=torch.float64)  # on the CPU: always in one order
        there = torch.zeros(len(sums), dtype=torch.bool)
        for features, y in parts:
            sums.index_add_(0, y.cpu(), F.normalize(features, dim=1).cpu().double())
            there[y.cpu()] = True
        there = there.to(self.known.device)
        measured = F.normalize(sums, dim=1).to(self.means)  # a sum has the direction of its mean
        self.means.copy_(torch.where(there[:, None], measured, self.means))
        self.known |= there
        self.current.fill_(True)
