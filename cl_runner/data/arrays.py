"""Arrays in files: in memory where they fit, else mapped, with rows read a batch ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import prod
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor

from cl_runner import machine

SHARE = 0.5
"""Of the memory that is free, how much the data may take: network and batches need some, too."""

Item = TypeVar("Item")
Made = TypeVar("Made")


class OutOfCore:
    """Rows [M, …] that do not fit in the memory of the device: those of mapped files, or of the
    host's memory. `parts` are tensors on the CPU, one behind the other."""

    def __init__(self, parts: Sequence[Tensor]) -> None:
        self.parts = list(parts)
        first = self.parts[0]
        self.dtype, self.device = first.dtype, first.device
        self.starts = [sum(map(len, self.parts[:n])) for n in range(len(self.parts))]
        self.shape = torch.Size([sum(map(len, self.parts)), *first.shape[1:]])
        self.nbytes = sum(part.nbytes for part in self.parts)

    def __len__(self) -> int:
        return self.shape[0]

    def to(self, device: str) -> Tensor:
        """A tensor of all rows on a device that has the memory for them."""
        return torch.cat([part.to(device) for part in self.parts])

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        """As a tensor's, along the first dimension: [B, …] on the device of `rows` [B]."""
        here = rows.cpu()
        if len(self.parts) == 1:
            return self.parts[0].index_select(dim, here).to(rows.device)
        chosen = torch.empty(len(here), *self.shape[1:], dtype=self.dtype)
        for start, part in zip(self.starts, self.parts, strict=True):
            mine = torch.nonzero((here >= start) & (here < start + len(part))).flatten()
            chosen.index_copy_(0, mine, part.index_select(0, here[mine] - start))
        return chosen.to(rows.device)


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
    # Copied on writing, so nothing that is done to the tensor can reach the file.
    mapped = np.memmap(path, np.uint8, "c", offset, tuple(shape))
    return OutOfCore([torch.from_numpy(mapped)])


def joined(parts: Sequence[Rows]) -> Rows:
    """One behind the other: copied where both fit in memory, else where they are."""
    tensors = [t for part in parts for t in ([part] if isinstance(part, Tensor) else part.parts)]
    if len(parts) == 1:
        return parts[0]
    in_memory = all(isinstance(part, Tensor) for part in parts)
    if in_memory and fits(sum(part.nbytes for part in parts)):
        return torch.cat(tensors)
    return OutOfCore(tensors)


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
