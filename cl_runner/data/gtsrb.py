"""GTSRB: 26,640 + 12,630 colour pictures of 43 German traffic signs, brought to 32 × 32."""

from __future__ import annotations

import os
import pickle
import re
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from cl_runner.config.targets import target
from cl_runner.data.source import Split, remedy
from cl_runner.errors import DataError

SIZE = 32
PICTURES = {"train": 26_640, "test": 12_630}
PPM = re.compile(rb"P6\s(\d{1,5})\s(\d{1,5})\s255\s")
"""The header of a picture: width, height, and three bytes a pixel."""


@target
class GTSRB:
    """The German traffic sign recognition benchmark (Stallkamp et al. 2012).

    Training pictures come in tracks of about 30 frames of one sign, nearly alike; a track is the
    first number of the file name, and a group of the validation split. Decoding takes some
    twenty seconds, so the decoded pictures are kept in the user's cache folder
    ($XDG_CACHE_HOME/cl_runner), under a digest of the files' names, sizes and times.
    """

    name = "gtsrb"
    classes = 43
    shape = (3, SIZE, SIZE)

    def load(self, root: str) -> tuple[Split, Split]:
        return _load(root, "train"), _load(root, "test")


def _load(root: str, split: Literal["train", "test"]) -> Split:
    samples = list_samples(root, split)
    cached = _cache_file([path for path, _ in samples])
    images = _from_cache(cached)
    if images is None:
        with ThreadPoolExecutor() as threads:
            images = torch.stack(list(threads.map(decode, [path for path, _ in samples])))
        _to_cache(cached, images)
    labels = torch.tensor([label for _, label in samples])
    # A track's number is unique within its class alone.
    tracks = [label * 100_000 + int(Path(path).stem.split("_")[0]) for path, label in samples]
    return Split(images, labels, torch.tensor(tracks))


def list_samples(root: str, split: Literal["train", "test"]) -> list[tuple[str, int]]:
    """Path and label of each picture. Raises DataError unless all pictures are there."""
    from torchvision import datasets

    try:
        samples: list[tuple[str, int]] = datasets.GTSRB(root, split)._samples
    except (RuntimeError, FileNotFoundError):
        folder = Path(root) / "gtsrb"
        raise DataError(f"data error: {folder} is missing; {remedy('gtsrb', root)}") from None
    if len(samples) != PICTURES[split]:
        raise DataError(
            f"data error: {Path(root) / 'gtsrb'} has {len(samples)} pictures in its {split} split, "
            f"expected {PICTURES[split]}; {remedy('gtsrb', root)}"
        )
    return samples


def decode(path: str) -> Tensor:
    """[3, 32, 32] uint8. All of these pictures have one form, so it is read here: a decoder of any
    picture would take a damaged header for another size, or for one of gigabytes."""
    from PIL import Image
    from torchvision.transforms.functional import pil_to_tensor

    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"data error: {path} cannot be read: {error.strerror}") from None
    header = PPM.match(content)
    if header is None:
        raise DataError(f"data error: {path} cannot be decoded: its header is not that of a PPM")
    size = int(header[1]), int(header[2])
    pixels = content[header.end() :]
    if len(pixels) != 3 * size[0] * size[1] or not pixels:
        told = f"{size[0]} × {size[1]} pixels, and there are {len(pixels)} bytes of them"
        raise DataError(f"data error: {path} cannot be decoded: its header says {told}")
    picture = Image.frombytes("RGB", size, pixels)
    if size != (SIZE, SIZE):
        picture = picture.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    decoded: Tensor = pil_to_tensor(picture)
    return decoded


def _cache_file(paths: list[str]) -> Path:
    digest = blake2b(digest_size=16)
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            raise DataError(f"data error: {path} is missing") from None
        if status.st_size == 0:
            raise DataError(f"data error: {path} is empty")
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "cl_runner" / f"gtsrb-{SIZE}-{digest.hexdigest()}.pt"


def _from_cache(file: Path) -> Tensor | None:
    try:
        images = torch.load(file, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
        return None
    return images if isinstance(images, Tensor) else None


def _to_cache(file: Path, images: Tensor) -> None:
    """Best effort: a run does not fail for want of a cache."""
    part = file.with_suffix(f".{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(images, part)
        os.replace(part, file)
    except (OSError, RuntimeError):
        part.unlink(missing_ok=True)
