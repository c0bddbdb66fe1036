"""Pictures in files, decoded once into one file, which is kept in a cache folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import blake2b, sha256
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cl_runner.data.arrays import Rows, stored
from cl_runner.errors import DataError

PART = 1000
"""Pictures that are decoded together."""
BLOCK = 2**20
"""Bytes that are read at a time."""

if TYPE_CHECKING:
    from PIL.Image import Image


def decoded(files: Sequence[str], size: int, name: str, opened: Callable[[str], Image]) -> Rows:
    """[N, 3, size, size] uint8: the pictures in these files, in their order.

    opened: reads one file. The result is kept in $XDG_CACHE_HOME/cl_runner under `name` and a
    digest of the files' names, sizes and times. Raises DataError for a file that is missing or
    empty, and whatever `opened` raises.
    """
    cached, shape = _cache_file(files, f"{name}-{size}"), (len(files), 3, size, size)
    images = _from_cache(cached, shape)
    if images is None:
        _to_cache(cached, _in_parts(files, size, opened))
        images = _from_cache(cached, shape)
    if images is None:  # a run does not fail for lack of a cache
        images = torch.cat(list(_in_parts(files, size, opened)))
    return images


def _in_parts(files: Sequence[str], size: int, opened: Callable[[str], Image]) -> Iterator[Tensor]:
    """The decoded pictures, so few at a time that there is memory for them."""
    with ThreadPoolExecutor() as threads:
        for start in range(0, len(files), PART):
            part = files[start : start + PART]
            yield torch.stack(list(threads.map(lambda f: as_tensor(opened(f), size), part)))


def as_tensor(picture: Image, size: int) -> Tensor:
    """[3, size, size] uint8, from an RGB picture of any size."""
    from PIL.Image import Resampling
    from torchvision.transforms.functional import pil_to_tensor

    if picture.size != (size, size):
        picture = picture.resize((size, size), Resampling.BILINEAR)
    tensor: Tensor = pil_to_tensor(picture)
    return tensor


def _cache_file(files: Sequence[str], name: str) -> Path:
    digest = blake2b(digest_size=16)
    for file in files:
        try:
            status = os.stat(file)
        except OSError:
            raise DataError(f"data error: {file} is missing") from None
        if status.st_size == 0:
            raise DataError(f"data error: {file} is empty")
        digest.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "cl_runner" / f"{name}-{digest.hexdigest()}.uint8"


def _from_cache(file: Path, shape: tuple[int, ...]) -> Rows | None:
    """None unless the file holds so many pixels and, behind them, their SHA-256."""
    size = prod(shape)
    try:
        if file.stat().st_size != size + sha256().digest_size:
            return None
        with file.open("rb") as content:
            digest, left = sha256(), size
            while left:
                block = content.read(min(left, BLOCK))
                digest.update(block)
                left -= len(block)
            whole = content.read() == digest.digest()
        return stored(file, shape) if whole else None
    except OSError:
        return None


def _to_cache(file: Path, parts: Iterable[Tensor]) -> None:
    """Errors are ignored: a run works without a cache."""
    part = file.with_suffix(f".{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as content:
            digest = sha256()
            for images in parts:
                digest.update(images.numpy().data)
                content.write(images.numpy().data)
            content.write(digest.digest())
        os.replace(part, file)
    except OSError:
        with suppress(OSError):
            part.unlink(missing_ok=True)
