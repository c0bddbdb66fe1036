"""The mean of each class and the scatter within the classes, sample by sample or all at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ClassMeans(nn.Module):
    """Running means of vectors [D] of C classes, in double precision.

    However the vectors are cut into parts, means and scatter are those of all of them, without the
    loss of digits of a difference of large sums (Chan, Golub & LeVeque 1983, eq. 2.1).
    """

    counts: Tensor  # [C] float64
    means: Tensor  # [C, D] float64; 0 for a class without a sample

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.register_buffer("counts", torch.zeros(classes, dtype=torch.float64))
        self.register_buffer("means", torch.zeros(classes, width, dtype=torch.float64))

    def add(self, vectors: Tensor, y: Tensor) -> Tensor:
        """Take in vectors [B, D] float64 of classes y [B]. Returns residuals R [B + C, D]: the
        scatter within the classes, Σᵢ (φᵢ − μ_yᵢ)(φᵢ − μ_yᵢ)ᵀ, has grown by RᵀR."""
        member = F.one_hot(y, len(self.counts)).to(vectors.dtype)  # [B, C]
        new = member.sum(0)
        total = (self.counts + new).clamp(min=1)
        own = member.T @ vectors / new.clamp(min=1)[:, None]
        moved = torch.where(new[:, None] > 0, own - self.means, 0.0)
        between = (self.counts * new / total).sqrt()[:, None] * moved
        self.means += (new / total)[:, None] * moved
        self.counts += new
        return torch.cat([vectors - own[y], between])
