"""Batches of in-memory tensors; order and augmentation are functions of position.

Shapes: M pictures of the whole stream, N samples of a part of it, B samples of a batch,
[C, H, W] one picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cl_runner.data.samples import Samples
from cl_runner.data.stream import Task
from cl_runner.randomness import Key, generator


@dataclass(frozen=True)
class Batch:
    """The arguments of a strategy's objective."""

    x: Tensor  # [B, C, H, W] float32, as the network sees them
    y: Tensor  # [B] int64; in regression float32
    task: Task  # the task being learned, also for replayed samples
    position: tuple[Key, ...]  # (seed, task, epoch, step), which fixes every draw
    index: Tensor  # [B] int64, numbers of the samples in the stream
    raw: Tensor  # [B, C, H, W] as stored, before normalisation and augmentation
    columns: Mapping[str, Tensor] = field(
        default_factory=dict
    )  # [B, …], stored with replayed samples


def batches(
    samples: Samples, task: Task, *, epoch: int, batch_size: int, first_step: int = 0
) -> Iterator[Batch]:
    """The batches of an epoch from `first_step` on, in an order fixed by (seed, task, epoch)."""
    position = (task.seed, task.index, epoch)
    order = torch.randperm(len(samples), generator=generator(*position, "order"))
    shuffled = samples.index[order.to(samples.index.device)]
    for step, rows in enumerate(shuffled.split(batch_size)):
        if step >= first_step:
            images = samples.images.index_select(0, rows)
            x = samples.pixels.augmented(images, rows, *position)
            y = samples.labels.index_select(0, rows)
            yield Batch(x, y, task, (*position, step), rows, images)


def joined(parts: Sequence[Batch]) -> Batch:
    """The samples of these batches as one, at the position of the first."""
    first = parts[0]
    if len(parts) == 1:
        return first
    x, y, index, raw = (
        torch.cat([getattr(part, name) for part in parts]) for name in ("x", "y", "index", "raw")
    )
    return Batch(x, y, first.task, first.position, index, raw)
