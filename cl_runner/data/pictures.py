"""Pictures in files, decoded once into one file, which is kept in a cache folder.

N files, G of which can be read; [C, H, W] is one picture.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import torch
from torch import Tensor

from cl_runner import terminal
from cl_runner.data.arrays import Rows, stored
from cl_runner.data.cache import kept, place
from cl_runner.data.picture_files import as_tensor
from cl_runner.errors import DataError, StorageError

PART = 1000
"""Pictures that are decoded together."""
SHARE = 50
"""And by one thread at a time."""
BLOCK = 2**20
"""Bytes that are read at a time."""
NAMED = 10
"""How many unreadable pictures a message names."""
BAR = "{desc}: {n_fmt} of {total_fmt} pictures |{bar}| {remaining}"

OnError = Literal["stop", "skip"]
log = logging.getLogger("cl_runner")

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass
class Unreadable:
    """The pictures that cannot be read, by their places among N files."""

    files: Sequence[str]
    reasons: dict[int, str] = field(default_factory=dict)

    def __str__(self) -> str:
        if len(self.reasons) == 1:
            return next(iter(self.reasons.values()))
        reasons = [self.reasons[number] for number in sorted(self.reasons)[:NAMED]]
        first = "; ".join(text.removeprefix("data error: ") for text in reasons)
        more = f"; and {len(self.reasons) - NAMED} more" if len(self.reasons) > NAMED else ""
        counts = f"{len(self.reasons):,} of {len(self.files):,} pictures cannot be read"
        return f"data error: {counts}: {first}{more}"


def decoded(
    files: Sequence[str],
    shape: tuple[int, int, int],
    name: str,
    opened: Callable[[str], Image],
    on_error: OnError | None = None,
) -> tuple[Rows, Tensor]:
    """The pictures in these files, [G, C, H, W] uint8, and which of the files they are, [G] int64.

    opened: reads one file as a picture of C colours and any size, and raises DataError if it
    cannot. The result is kept in $XDG_CACHE_HOME/cl_runner under `name` and a digest of the files'
    names, sizes and times. One process decodes, others wait for it. Raises DataError for a file
    that is missing, and for all those that cannot be read unless on_error is `skip`;
    None: the data set has no such setting.
    """
    cached = _cache_file(files, "-".join(map(str, (name, *shape))))
    decoder = _Decoder(files, shape, opened, on_error)
    try:
        found = kept(
            cached,
            partial(_from_cache, cached, shape, len(files), on_error),
            partial(_to_cache, decoder),
        )
    except (OSError, StorageError):  # a run works without a cache
        images = torch.cat([torch.empty(0, *shape, dtype=torch.uint8), *decoder])
        found = images, decoder.kept()
    return _with_warning(files, *found)


@dataclass
class _Decoder:
    """An iterator of the decoded pictures [≤ PART, C, H, W], so few that there is memory for them.

    It ends with DataError if some cannot be read and none may be left out.
    """

    files: Sequence[str]
    shape: tuple[int, int, int]
    opened: Callable[[str], Image]
    on_error: OnError | None

    def __iter__(self) -> Iterator[Tensor]:
        self.unreadable = Unreadable(self.files)
        with (
            ThreadPoolExecutor() as threads,
            terminal.bar(len(self.files), 0, BAR, "decoding") as bar,
        ):
            if bar.disable and len(self.files) > PART:
                print(f"decoding {len(self.files):,} pictures, once", file=sys.stderr)
            for start in range(0, len(self.files), PART):
                numbers = range(start, min(start + PART, len(self.files)))
                shares = [numbers[first : first + SHARE] for first in range(0, len(numbers), SHARE)]
                made = [one for share in threads.map(self._some, shares) for one in share]
                bar.update(len(numbers))
                if made:
                    yield torch.stack(made)
        if self.unreadable.reasons and self.on_error != "skip":
            hint = ". Hint: dataset.source.on_error=skip leaves them out" if self.on_error else ""
            raise DataError(f"{self.unreadable}{hint}")

    def _some(self, numbers: range) -> list[Tensor]:
        return [one for number in numbers if (one := self._one(number)) is not None]

    def _one(self, number: int) -> Tensor | None:
        file = self.files[number]
        try:
            if os.path.getsize(file) == 0:
                raise DataError(f"data error: {file} is empty")
            return as_tensor(self.opened(file), self.shape[1:])
        except DataError as error:
            self.unreadable.reasons[number] = str(error)
            return None

    def kept(self) -> Tensor:
        """[G] int64, after the iteration."""
        found = [n for n in range(len(self.files)) if n not in self.unreadable.reasons]
        return torch.tensor(found, dtype=torch.int64)


def _with_warning(files: Sequence[str], images: Rows, kept: Tensor) -> tuple[Rows, Tensor]:
    if len(kept) < len(files):
        left_out = sorted(set(range(len(files))) - set(kept.tolist()))
        names = [files[number] for number in left_out[:NAMED]]
        counts = f"{len(left_out):,} of {len(files):,} pictures cannot be read and are left out"
        more = f", and {len(left_out) - NAMED} more" if len(left_out) > NAMED else ""
        log.warning("%s: %s%s", counts, ", ".join(names), more)
    return images, kept


def _cache_file(files: Sequence[str], name: str) -> Path:
    return place(name, map(_stamp, files), ".uint8")


def _stamp(file: str) -> str:
    try:
        status = os.stat(file)
    except OSError:
        raise DataError(f"data error: {file} is missing") from None
    return f"{file}\0{status.st_size}\0{status.st_mtime_ns}"


def _from_cache(
    file: Path, shape: tuple[int, ...], count: int, on_error: OnError | None
) -> tuple[Rows, Tensor] | None:
    """None unless the file holds the pixels of G pictures, a byte for each of the N files (1: it
    can be read) and the SHA-256 of both."""
    try:
        pixels = file.stat().st_size - count - sha256().digest_size
        rows, rest = divmod(pixels, prod(shape))
        if rest or rows < 0 or (rows < count and on_error != "skip"):
            return None
        with file.open("rb") as content:
            digest, left = sha256(), pixels
            while left:
                block = content.read(min(left, BLOCK))
                digest.update(block)
                left -= len(block)
            readable = content.read(count)
            digest.update(readable)
            whole = content.read() == digest.digest() and sum(readable) == rows
        kept = torch.frombuffer(bytearray(readable), dtype=torch.uint8).nonzero().flatten()
        return (stored(file, (rows, *shape)), kept) if whole else None
    except OSError:
        return None


def _to_cache(decoder: _Decoder, content: BinaryIO) -> None:
    digest = sha256()
    for block in _blocks(decoder):
        digest.update(block)
        content.write(block)
    content.write(digest.digest())


def _blocks(decoder: _Decoder) -> Iterable[memoryview | bytes]:
    for images in decoder:
        yield images.numpy().data
    readable = bytearray(len(decoder.files))
    for number in decoder.kept().tolist():
        readable[number] = 1
    yield bytes(readable)
