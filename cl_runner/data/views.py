"""Views: what each task sees of the same stored pictures, which are held once.

Shapes: T tasks, M stored pictures, B samples of a batch, [C, H, W] one picture, P = H · W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

BITS = 16
"""Behind the point of an interpolation's weights; sums of whole numbers are exact in any order."""


class View(Protocol):
    """A function of the stored sample for each task."""

    def __call__(self, stored: Tensor, tasks: Tensor) -> Tensor:
        """[B, C, H, W] as stored → the same as the tasks [B] see them, one of each sample."""

    def to(self, device: str) -> View:
        """The same on this device."""


@dataclass(frozen=True)
class Views:
    """The samples of a stream in which each task sees all stored ones: sample `id` is row
    id % M as task id // M sees it, so that an id is as good as if each task had a copy."""

    stored: int  # M
    starts: Tensor  # [T] int64: where the stream begins to number the classes of each task
    view: View

    def to(self, device: str) -> Views:
        return Views(self.stored, self.starts.to(device), self.view.to(device))


@dataclass(frozen=True)
class Rearranged:
    """Each pixel is one of the stored ones, or black; the same in each colour."""

    sources: Tensor  # [T, P] int64: which pixel; P stands for black
    black: bool  # whether there is any

    def __call__(self, stored: Tensor, tasks: Tensor) -> Tensor:
        flat = F.pad(stored.flatten(2), [0, 1]) if self.black else stored.flatten(2)
        return _gathered(flat, _of_tasks(self.sources, tasks)).view(stored.shape)

    def to(self, device: str) -> Rearranged:
        return Rearranged(self.sources.to(device), self.black)


@dataclass(frozen=True)
class Interpolated:
    """Each pixel is a weighted mean of four stored ones, rounded; the same in each colour."""

    sources: Tensor  # [4, T, P] int64, as in `Rearranged`
    weights: Tensor  # [4, T, P] int32, in units of 2^-BITS

    def __call__(self, stored: Tensor, tasks: Tensor) -> Tensor:
        flat = F.pad(stored.flatten(2), [0, 1])
        half = torch.tensor(1 << (BITS - 1), dtype=torch.int32, device=flat.device)
        total = half.expand(*flat.shape[:2], flat.shape[2] - 1).contiguous()
        for sources, weights in zip(self.sources, self.weights, strict=True):
            pixels = _gathered(flat, _of_tasks(sources, tasks))
            total += pixels * _of_tasks(weights, tasks)[:, None]
        return (total >> BITS).to(stored.dtype).view(stored.shape)

    def to(self, device: str) -> Interpolated:
        return Interpolated(self.sources.to(device), self.weights.to(device))


def _of_tasks(table: Tensor, tasks: Tensor) -> Tensor:
    """[B, P]: the rows of these tasks; of one task alone, as in most batches, one row for all."""
    first = tasks[:1]
    if bool((tasks == first).all()):
        return table[first].expand(len(tasks), -1)
    return table[tasks]


def _gathered(flat: Tensor, sources: Tensor) -> Tensor:
    """[B, C, P] from pixels [B, C, P or P + 1] by `sources` [B, P]."""
    return flat.gather(2, sources[:, None].expand(-1, flat.shape[1], -1))
