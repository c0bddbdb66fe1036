"""Tasks that turn the pictures of one data set, each by another angle.

Shapes: T tasks, P = H · W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from cl_runner.config.setting_types import (
    DataRoot,
    Fraction,
    NonEmpty,
    PositiveInt,
    Real,
    TaskCount,
)
from cl_runner.config.targets import target
from cl_runner.data.assemble import assemble
from cl_runner.data.cuts import in_views, outlined
from cl_runner.data.samples import Pixels
from cl_runner.data.source import Source, has_features, read
from cl_runner.data.stream import Outline, Scenario, Scope, Stream
from cl_runner.data.views import BITS, Interpolated, Rearranged, View
from cl_runner.errors import ConfigError
from cl_runner.randomness import generator

Interpolation = Literal["nearest", "bilinear"]


@target
class ByRotation:
    """One data set; each task shows all classes, turned by another angle about the middle.

    `angles`, in degrees and counter-clockwise, is a list with one a task; or they are drawn from
    the seed, uniformly: `random` from 0 to 180 for each task (Buzzega et al. 2020), `ascending`
    from the task's own of T equal parts of 0 to 180 (Lopez-Paz & Ranzato 2017). Where they are
    drawn, the first task shows the pictures as they are; with `rotate_first` it turns them, too,
    as in both papers. Corners that come in are black.
    """

    def __init__(
        self,
        *,
        source: Source,
        root: DataRoot,
        scenario: Scenario,
        tasks: TaskCount,
        # Not PerTask: an angle for each, and the last one does not repeat.
        angles: Literal["random", "ascending"] | NonEmpty[Real],
        rotate_first: bool,
        interpolation: Interpolation,
        samples_per_task: PositiveInt | None,
        blurry: Fraction,
        repetition: Fraction,
        validation_fraction: Fraction,
        pixels: Pixels,
    ) -> None:
        if has_features(source):
            allowed = "features cannot be turned"
            raise ConfigError.of("source", source.name, allowed, "ByPermutation, or ByClass")
        self.source, self.root, self.tasks = source, root, tasks
        self.pixels = pixels.fitting(source.shape)
        self.scenario, self.validation_fraction = scenario, validation_fraction
        self.samples_per_task = samples_per_task
        self.blurry, self.repetition = blurry, repetition
        if isinstance(angles, list) and len(angles) != tasks:
            allowed = f"has {len(angles)} values for {tasks} tasks; give one per task"
            allowed += ", or random, or ascending"
            raise ConfigError.of("angles", angles, allowed)
        if isinstance(angles, list) and rotate_first:
            allowed = f"has no effect with angles={angles}, which has the first task's"
            hint = "angles=random, angles=ascending or rotate_first=false"
            raise ConfigError.of("rotate_first", rotate_first, allowed, hint)
        self.angles, self.rotate_first, self.interpolation = angles, rotate_first, interpolation

    def outline(self, seed: int) -> Outline:
        names = [f"turned by {angle:.4g}°" if angle else "as they are" for angle in self._of(seed)]
        labels = [list(range(self.source.classes))] * self.tasks
        return outlined(self, self.source, names, labels)

    def load(self, *, seed: int, scope: Scope, device: str) -> Stream:
        splits = read(self.source, self.root)
        train, test = in_views(splits, self.view(seed), self.tasks)
        outline, pixels = self.outline(seed), self.pixels
        return assemble(outline, train, test, pixels, scope=scope, seed=seed, device=device)

    def view(self, seed: int) -> View:
        """How each task shows a padded picture; needs no data."""
        size = self.outline(seed).shape[1:]
        return rotations(self._of(seed), size, self.interpolation)

    def _of(self, seed: int) -> list[float]:
        """The angle of each task."""
        if isinstance(self.angles, list):
            return self.angles
        drawn = [
            torch.rand(1, generator=generator(seed, t, "angle")).item() for t in range(self.tasks)
        ]
        if self.angles == "ascending":
            drawn = [(t + share) / self.tasks for t, share in enumerate(drawn)]
        if not self.rotate_first:
            drawn[0] = 0.0
        return [180 * share for share in drawn]


def rotations(
    angles: Sequence[float], size: tuple[int, int], interpolation: Interpolation
) -> Rearranged | Interpolated:
    """Pictures of this height and width turned by degrees, counter-clockwise, about their centre;
    black comes in from outside."""
    places = torch.stack([_where(angle, *size) for angle in angles])  # [T, P, 2]
    if interpolation == "nearest":
        return Rearranged(_pixel(places.round(), size), black=True)
    corner = places.floor()
    near = places - corner  # [T, P, 2]: how far from the upper left of the four
    sources, weights = [], []
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        step = torch.tensor([down, right])
        sources.append(_pixel(corner + step, size))
        share = torch.where(step == 1, near, 1 - near).prod(-1)
        weights.append((share * 2**BITS).round().to(torch.int32))
    return Interpolated(torch.stack(sources), torch.stack(weights))


def _where(angle: float, height: int, width: int) -> Tensor:
    """[P, 2] float64: row and column of the stored picture that each pixel shows."""
    turn = torch.deg2rad(torch.tensor(angle, dtype=torch.float64))
    middle = torch.tensor([height - 1, width - 1], dtype=torch.float64) / 2
    rows, columns = torch.arange(height), torch.arange(width)
    y, x = (torch.cartesian_prod(rows, columns) - middle).T
    places = torch.stack([y * turn.cos() + x * turn.sin(), x * turn.cos() - y * turn.sin()], 1)
    # Rounding must not decide between two pixels where a quarter turn hits one exactly.
    return (places + middle).mul(2**20).round().div(2**20)


def _pixel(places: Tensor, size: tuple[int, int]) -> Tensor:
    """[..., 2] whole rows and columns → [...] the number of the pixel, P outside the picture."""
    row, column = places.long().unbind(-1)
    height, width = size
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return torch.where(inside, row * width + column, height * width)
