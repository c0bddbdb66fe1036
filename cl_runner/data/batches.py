"""Batches of tensors; order and augmentation are functions of position.

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
    parts = samples.index[order.to(samples.index.device)].split(batch_size)[first_step:]
    for step, (ids, images) in enumerate(
        zip(parts, samples.stored_each(parts), strict=True), start=first_step
    ):
        x = samples.pixels.augmented(images, ids, *position)
        yield Batch(x, samples.targets(ids), task, (*position, step), ids, images)


def joined(parts: Sequence[Batch]) -> Batch:
    """The samples of these batches as one, at the position of the first."""
    first = parts[0]
    if len(parts) == 1:
        return first
    x, y, index, raw = (
        torch.cat([getattr(part, name) for part in parts]) for name in ("x", "y", "index", "raw")
    )
    return Batch(x, y, first.task, first.position, index, raw)
