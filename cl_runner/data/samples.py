"""Samples of a stream as tensors, and how they are prepared for the network.

Shapes: M stored pictures of the whole stream, N samples of a part of it, B samples of a batch,
[C, H, W] one picture.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_runner.config.setting_types import NonNegativeInt, Positive, Real
from cl_runner.config.targets import target
from cl_runner.data.arrays import OutOfCore, Rows, ahead
from cl_runner.data.views import Views
from cl_runner.errors import ConfigError
from cl_runner.randomness import Key, draws, seed_of


class Preparation(Protocol):
    """From stored samples to the input of the network: `Pixels` or `Unchanged`."""

    padding: int  # zeros that are stored on each side of each picture

    def __call__(self, images: Tensor) -> Tensor:
        """The network's input, without augmentation."""

    def augmented(self, images: Tensor, ids: Tensor, *position: Key) -> Tensor:
        """The same in training, augmented by the samples' ids and the position."""

    def to(self, device: str) -> Preparation:
        """The same on this device."""


@target
class Pixels:
    """From stored uint8 pictures to the network's input: (pixel / 255 − mean) / std. Features are
    not divided by 255: (value − mean) / std.

    `mean` and `std` have one value per colour. With `per_picture` they are those of each picture,
    over all its pixels and colours, so that dark and bright ones look alike.

    `padding` zeros on each side make every picture larger, before a task permutes or turns it:
    padded by 2, MNIST is 32 × 32. The stream stores pictures that way. `crop_padding`: zeros are
    added at each side, then a random crop restores the size. `flip` mirrors a random half of the
    pictures. These two act only on training samples.
    """

    def __init__(
        self,
        *,
        mean: list[Real],
        std: list[Positive],
        padding: NonNegativeInt,
        crop_padding: NonNegativeInt,
        flip: bool,
        per_picture: bool,
    ) -> None:
        if not mean or not std or len({1, len(mean), len(std)}) > 2:
            allowed = f"must have one value, or as many as std, which has {len(std)}"
            raise ConfigError.of("mean", mean, allowed)
        if per_picture and (any(mean) or set(std) != {1.0}):
            allowed = "uses each picture's own mean and deviation, so mean and std must be neutral"
            raise ConfigError.of("per_picture", per_picture, allowed, "mean=[0.0] and std=[1.0]")
        self.mean, self.std = torch.tensor(mean).view(-1, 1, 1), torch.tensor(std).view(-1, 1, 1)
        self.scale, self.shift = 1 / (255 * self.std), -self.mean / self.std
        self.padding, self.crop_padding = padding, crop_padding
        self.flip = flip
        self.per_picture = per_picture

    def fitting(self, shape: tuple[int, int, int], features: bool = False) -> Pixels:
        """Itself. Raises ConfigError if it does not fit pictures of this shape [C, H, W], or
        features, which have no colours and no sides."""
        if features:
            return self._fitting_features()
        channels, *sides = shape
        values = len(self.shift)
        if values not in (1, channels):
            allowed = f"mean and std must have one value, or one for each of the {channels} colours"
            raise ConfigError.of("pixels", f"{values} values", allowed)
        allowed = "must be smaller than the height and width of the pictures"
        if self.padding >= min(sides):
            raise ConfigError.of("pixels.padding", self.padding, f"{allowed}, {sides}")
        sides = list(self.padded(shape)[1:])
        if self.crop_padding >= min(sides):
            raise ConfigError.of("pixels.crop_padding", self.crop_padding, f"{allowed}, {sides}")
        return self

    def _fitting_features(self) -> Pixels:
        allowed = "is for pictures, and this data set has features"
        for name in ("padding", "crop_padding", "flip", "per_picture"):
            if value := getattr(self, name):
                raise ConfigError.of(f"pixels.{name}", value, allowed)
        if len(self.shift) > 1:
            allowed = "mean and std must have one value for all features"
            raise ConfigError.of("pixels", f"{len(self.shift)} values", allowed)
        return self

    @property
    def augments(self) -> bool:
        """Whether training samples look different each time."""
        return self.crop_padding > 0 or self.flip

    def padded(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """The shape [C, H, W] that pictures of this shape have when they are padded."""
        channels, height, width = shape
        return channels, height + 2 * self.padding, width + 2 * self.padding

    def to(self, device: str) -> Pixels:
        moved = copy.copy(self)
        for name in ("mean", "std", "scale", "shift"):
            setattr(moved, name, getattr(self, name).to(device))
        return moved

    def __call__(self, images: Tensor) -> Tensor:
        """images: [B, C, H, W] uint8, or float32 features. Returns float32 of the same shape."""
        if images.dtype == torch.float32:
            return (images - self.mean) / self.std
        if self.per_picture:
            std, mean = torch.std_mean(images.float(), dim=(1, 2, 3), keepdim=True)
            return (images - mean) / std.clamp(min=1)  # the deviation of a plain picture is 0
        return images.float().mul_(self.scale).add_(self.shift)

    def augmented(self, images: Tensor, ids: Tensor, *position: Key) -> Tensor:
        """As `__call__`, after a random crop and flip that depend on the id and the position."""
        if not self.augments:
            return self(images)
        chance = draws(seed_of(*position, "augmentation"), ids, 3)
        if self.crop_padding > 0:
            images = _crop(images, self.crop_padding, chance)
        if self.flip:
            mirrored = chance[:, 2, None, None, None] % 2 == 1
            images = torch.where(mirrored, images.flip(-1), images)
        return self(images)


class Unchanged:
    """The network sees what is stored: the inputs of regression, or features."""

    padding = 0

    def __call__(self, images: Tensor) -> Tensor:
        return images

    def augmented(self, images: Tensor, ids: Tensor, *position: Key) -> Tensor:
        return images

    def to(self, device: str) -> Self:
        return self


def _crop(images: Tensor, padding: int, chance: Tensor) -> Tensor:
    """Each picture shifted by up to `padding` pixels in each direction; zeros fill the border."""
    height, width = images.shape[-2:]
    padded = F.pad(images, [padding] * 4)
    steps = chance[:, :2] % (2 * padding + 1)
    rows = steps[:, 0, None] + torch.arange(height, device=images.device)  # [B, H]
    columns = steps[:, 1, None] + torch.arange(width, device=images.device)  # [B, W]
    samples = torch.arange(len(images), device=images.device)[:, None, None]
    moved = padded.permute(0, 2, 3, 1)[samples, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Samples:
    """Some samples of a stream, as an index into what is stored: parts and unions copy nothing.

    The id of a sample is the row in which it is stored. If each task has its own view of all rows,
    ids continue from task to task (see `Views`), and all tasks share one tensor of rows.
    """

    images: Rows  # [M, C, H, W] uint8; features and the inputs of regression: float32
    labels: Tensor  # [M] int64, as the stream numbers them; in regression float32
    rows: Tensor  # [N] int64
    pixels: Preparation
    views: Views | None = None
    first: int = 0  # the id of row 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Tensor | slice) -> Samples:
        return replace(self, rows=self.rows[rows])

    def __add__(self, other: Samples) -> Samples:
        return replace(self, rows=torch.cat([self.index, other.index]), first=0)

    @property
    def index(self) -> Tensor:
        """[N] int64, the ids."""
        return self.rows if self.first == 0 else self.rows + self.first

    def stored(self, ids: Tensor) -> Tensor:
        """[B, C, H, W], as the tasks of these ids see what is stored, before normalisation."""
        if self.views is None:
            return self.images.index_select(0, ids)
        stored = self.images.index_select(0, ids % self.views.stored)
        return self.views.view(stored, ids // self.views.stored)

    def targets(self, ids: Tensor) -> Tensor:
        """[B], of these ids."""
        if self.views is None:
            return self.labels.index_select(0, ids)
        labels = self.labels.index_select(0, ids % self.views.stored)
        return labels + self.views.starts[ids // self.views.stored]

    def stored_each(self, parts: Sequence[Tensor]) -> Iterator[Tensor]:
        """`stored` of each of these ids in turn, the next ones read ahead if not in memory."""
        ahead_of_use = isinstance(self.images, OutOfCore)
        return ahead(self.stored, parts) if ahead_of_use else map(self.stored, parts)

    @property
    def raw(self) -> Tensor:
        """[N, C, H, W], before normalisation, as stored."""
        return self.stored(self.index)

    @property
    def x(self) -> Tensor:
        """[N, C, H, W] float32, normalised, not augmented."""
        return self.pixels(self.raw)

    @property
    def y(self) -> Tensor:
        """[N] int64; in regression float32."""
        return self.targets(self.index)

    def chunks(self, size: int) -> Iterator[Samples]:
        """The samples in order, `size` at a time, for passes that do not train."""
        return (self[start : start + size] for start in range(0, len(self), size))


def digest_of(*parts: Samples) -> str:
    """SHA-256 of these samples and their labels, not normalised, in their order."""
    digest = hashlib.sha256()
    for samples in parts:
        for chunk in samples.chunks(1000):
            digest.update(chunk.raw.cpu().contiguous().numpy().data)
        digest.update(samples.y.cpu().contiguous().numpy().data)
    return digest.hexdigest()
