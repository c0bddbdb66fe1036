"""Pictures in files, decoded once into one tensor, which is kept in a cache folder."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cl_runner.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image


def decoded(files: Sequence[str], size: int, name: str, opened: Callable[[str], Image]) -> Tensor:
    """[N, 3, size, size] uint8: the pictures in these files, in their order.

    opened: reads one file. The result is kept in $XDG_CACHE_HOME/cl_runner under `name` and a
    digest of the files' names, sizes and times. Raises DataError for a file that is missing or
    empty, and whatever `opened` raises.
    """
    cached = _cache_file(files, f"{name}-{size}")
    images = _from_cache(cached)
    if images is None:
        with ThreadPoolExecutor() as threads:
            images = torch.stack(list(threads.map(lambda f: as_tensor(opened(f), size), files)))
        _to_cache(cached, images)
    return images


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
    return Path(base) / "cl_runner" / f"{name}-{digest.hexdigest()}.pt"


def _from_cache(file: Path) -> Tensor | None:
    try:
        images = torch.load(file, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
        return None
    return images if isinstance(images, Tensor) else None


def _to_cache(file: Path, images: Tensor) -> None:
    """Errors are ignored: a run works without a cache."""
    part = file.with_suffix(f".{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(images, part)
        os.replace(part, file)
    except (OSError, RuntimeError):
        part.unlink(missing_ok=True)
