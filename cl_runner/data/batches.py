"""Batches of tensors; order and augmentation are functions of position.

Shapes: M pictures of the whole stream, N samples of a part of it, B samples of a batch,
[C, H, W] one picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from cl_runner.data.samples import Samples
from cl_runner.data.stream import Task
from cl_runner.randomness import Key, generator

AT_ONCE = 128  # samples prepared together, at least, where batches are smaller


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
    turn: int = 0  # which of the steps on these samples, where there are several in a row


def batches(
    samples: Samples, task: Task, *, epoch: int, batch_size: int, first_step: int = 0
) -> Iterator[Batch]:
    """The batches of an epoch from `first_step` on, in an order fixed by (seed, task, epoch)."""
    position = (task.seed, task.index, epoch)
    order = torch.randperm(len(samples), generator=generator(*position, "order"))
    shuffled = samples.index[order.to(samples.index.device)][first_step * batch_size :]
    block = batch_size * (max(1, AT_ONCE // batch_size) if _aligned(samples) else 1)
    blocks = shuffled.split(block) if len(shuffled) > 0 else ()
    step = first_step
    for ids, images in zip(blocks, samples.stored_each(blocks), strict=True):
        x = samples.pixels.augmented(images, ids, *position)
        columns = (x, samples.targets(ids), ids, images)
        for part in zip(*(tensor.split(batch_size) for tensor in columns), strict=True):
            yield Batch(part[0], part[1], task, (*position, step), part[2], part[3])
            step += 1


def _aligned(samples: Samples) -> bool:
    """Whether each sample of a block begins at a multiple of 64 bytes, as a tensor of its own does.
    Otherwise a matrix product may round differently."""
    return samples.images.shape[1:].numel() * 4 % 64 == 0  # of float32


def joined(parts: Sequence[Batch]) -> Batch:
    """The samples of these batches as one, at the position of the first."""
    first = parts[0]
    if len(parts) == 1:
        return first
    x, y, index, raw = (
        torch.cat([getattr(part, name) for part in parts]) for name in ("x", "y", "index", "raw")
    )
    return Batch(x, y, first.task, first.position, index, raw, turn=first.turn)


def in_turns(parts: list[Batch], turns: int) -> Iterator[list[Batch]]:
    """The batches of one step for each of several steps in a row, each at a position of its own."""
    if turns == 1:
        yield parts
        return
    for turn in range(turns):
        yield [
            replace(part, turn=turn, position=(*place, int(number) * turns + turn))
            for part in parts
            for *place, number in [part.position]
        ]
