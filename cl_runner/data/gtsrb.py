"""GTSRB: 26,640 + 12,630 colour pictures of 43 German traffic signs, resized to 32 × 32."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from cl_runner.config.targets import target
from cl_runner.data.pictures import decoded
from cl_runner.data.source import Split, remedy
from cl_runner.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

SIZE = 32
PICTURES = {"train": 26_640, "test": 12_630}
PPM = re.compile(rb"P6\s(\d{1,5})\s(\d{1,5})\s255\s")
"""The header of a picture: its width and height; three bytes per pixel follow."""


@target
class GTSRB:
    """The German traffic sign recognition benchmark (Stallkamp et al. 2012).

    Training pictures come in tracks: about 30 nearly equal frames of one sign. The first number of
    a file's name is its track, which is a group in the validation split. Decoding takes some twenty
    seconds, so it is done once (`pictures.py`).
    """

    name = "gtsrb"
    classes = 43
    shape = (3, SIZE, SIZE)

    def load(self, root: str) -> tuple[Split, Split]:
        return _load(root, "train"), _load(root, "test")


def _load(root: str, split: Literal["train", "test"]) -> Split:
    samples = list_samples(root, split)
    images, _ = decoded([path for path, _ in samples], GTSRB.shape, "gtsrb", picture)
    labels = torch.tensor([label for _, label in samples])
    # A track's number is only unique within its class.
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


def picture(path: str) -> Image:
    """One picture at its own size.

    All files have the same form, which is checked here: a general decoder would accept a damaged
    header as another size, even one of gigabytes. Raises DataError.
    """
    from PIL import Image

    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"data error: {path} cannot be read: {error.strerror}") from None
    header = PPM.match(content)
    if header is None:
        raise DataError(f"data error: {path} cannot be decoded: it has no PPM header")
    width, height = int(header[1]), int(header[2])
    pixels = content[header.end() :]
    if len(pixels) != 3 * width * height or not pixels:
        stated = f"{width} × {height} pixels, but {len(pixels)} bytes follow"
        raise DataError(f"data error: {path} cannot be decoded: its header says {stated}")
    return Image.frombytes("RGB", (width, height), pixels)
