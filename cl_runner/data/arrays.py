"""Arrays in files: in memory where they fit, else mapped, with rows read a batch ahead."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import prod
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cl_runner import machine

SHARE = 0.5
"""Of the memory that is free, how much the data may take: network and batches need some, too."""
MAPPED = 64
"""Rows of a file that may be mapped at a time: around each, Linux maps up to 2 MiB."""

Item = TypeVar("Item")
Made = TypeVar("Made")


class OutOfCore:
    """Rows [M, …] that do not fit in the memory of the device: those of mapped files, or of the
    host's memory. `parts` are tensors on the CPU, one behind the other. With `padding`, so many
    zeros come on each side of each row [C, H, W] when it is read. `files`: the mappings below the
    parts, if any. Pages that have been read stay in the cache of the system, but not with this
    process."""

    def __init__(
        self, parts: Sequence[Tensor], padding: int = 0, files: Sequence[mmap.mmap] = ()
    ) -> None:
        self.parts, self.padding, self.files = list(parts), padding, files
        first = self.parts[0]
        self.dtype, self.device = first.dtype, first.device
        self.starts = [sum(map(len, self.parts[:n])) for n in range(len(self.parts))]
        row = _with_zeros(first[:1], padding).shape[1:]
        self.shape = torch.Size([sum(map(len, self.parts)), *row])
        self.nbytes = self.shape.numel() * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def to(self, device: str) -> Tensor:
        """A tensor of all rows on a device that has the memory for them."""
        return torch.cat([_with_zeros(part.to(device), self.padding) for part in self.parts])

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        """As a tensor's, along the first dimension: [B, …] on the device of `rows` [B]."""
        here = rows.cpu()
        if self.files and len(here) > 0:
            chosen = torch.cat([self._and_unmapped(dim, some) for some in here.split(MAPPED)])
        else:
            chosen = self._stored(dim, here)
        return _with_zeros(chosen.to(rows.device), self.padding)

    def _and_unmapped(self, dim: int, here: Tensor) -> Tensor:
        chosen = self._stored(dim, here)
        for file in self.files:
            file.madvise(mmap.MADV_DONTNEED)
        return chosen

    def _stored(self, dim: int, here: Tensor) -> Tensor:
        if len(self.parts) == 1:
            return self.parts[0].index_select(dim, here)
        chosen = torch.empty(len(here), *self.parts[0].shape[1:], dtype=self.dtype)
        for start, part in zip(self.starts, self.parts, strict=True):
            mine = torch.nonzero((here >= start) & (here < start + len(part))).flatten()
            chosen.index_copy_(0, mine, part.index_select(0, here[mine] - start))
        return chosen


Rows: TypeAlias = Tensor | OutOfCore
"""[M, …], of which `index_select(0, rows)` gives some."""


def fits(size: int, device: str = "cpu") -> bool:
    """Whether so many bytes of data leave enough of the memory that is free now."""
    return size <= SHARE * machine.free_memory(device)


def stored(path: Path, shape: Sequence[int], offset: int = 0) -> Rows:
    """[*shape] uint8, the bytes of a file from `offset` on. Raises OSError."""
    size = prod(shape)
    if fits(size):
        values = np.fromfile(path, np.uint8, size, offset=offset)
        return torch.from_numpy(values).view(*shape)
    return mapped(path, np.dtype(np.uint8), shape, offset)


def mapped(path: Path, dtype: np.dtype[Any], shape: Sequence[int], offset: int) -> OutOfCore:
    """[*shape] of this type in a file, from `offset` on. Raises OSError, ValueError."""
    with path.open("rb") as file:
        # Copied on writing, so nothing that is done to the tensor can reach the file.
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    values = np.frombuffer(content, dtype, prod(shape), offset).reshape(shape)
    return OutOfCore([torch.from_numpy(values)], files=[content])


def joined(parts: Sequence[Rows]) -> Rows:
    """One behind the other: copied where both fit in memory, else where they are."""
    tensors = [t for part in parts for t in ([part] if isinstance(part, Tensor) else part.parts)]
    if len(parts) == 1:
        return parts[0]
    in_memory = all(isinstance(part, Tensor) for part in parts)
    if in_memory and fits(sum(part.nbytes for part in parts)):
        return torch.cat(tensors)
    files = [file for part in parts if isinstance(part, OutOfCore) for file in part.files]
    return OutOfCore(tensors, files=files)


def padded(rows: Rows, padding: int) -> Rows:
    """Pictures [M, C, H, W] with so many zeros on each side: copied where they fit in memory, else
    padded when they are read."""
    if padding == 0:
        return rows
    if isinstance(rows, OutOfCore):
        return OutOfCore(rows.parts, padding, rows.files)
    grown = OutOfCore([rows], padding)
    return _with_zeros(rows, padding) if fits(grown.nbytes) else grown


def _with_zeros(images: Tensor, padding: int) -> Tensor:
    return F.pad(images, [padding] * 4) if padding else images


def on(rows: Rows, device: str) -> Rows:
    """The same in the device's memory if they fit there, else where they are."""
    if device == "cpu":
        return rows
    if fits(rows.nbytes, device):
        return rows.to(device)
    return OutOfCore([rows]) if isinstance(rows, Tensor) else rows


def ahead(make: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """`make` of each item, in order; a thread makes the next one while this one is in use."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        coming = None
        for item in items:
            following = thread.submit(make, item)
            if coming is not None:
                yield coming.result()
            coming = following
        if coming is not None:
            yield coming.result()
