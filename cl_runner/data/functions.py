"""Regression in one dimension: noisy samples of random functions, each task on its own interval."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, Self

import torch
from pydantic import Field
from torch import Tensor

from cl_runner.config.setting_types import Fraction, NonNegative, PositiveInt, Real
from cl_runner.config.targets import target
from cl_runner.data.assemble import Cut, assemble
from cl_runner.data.samples import Preparation
from cl_runner.data.stream import Outline, Scope, Stream
from cl_runner.errors import ConfigError
from cl_runner.machine import refuse_too_large
from cl_runner.randomness import Key, generator

GRID = 200  # test inputs of a task, evenly spaced over its interval
Function = Callable[[Tensor], Tensor]
Terms = Annotated[int, Field(ge=1, le=100)]


class AsItIs:
    """The network sees the input itself."""

    def __call__(self, images: Tensor) -> Tensor:
        return images

    def augmented(self, images: Tensor, ids: Tensor, *position: Key) -> Tensor:
        return images

    def to(self, device: str) -> Self:
        return self


@target
class Regression:
    """A task an interval: `samples` inputs drawn uniformly from it, targets f(x) + noise · N(0, 1).

    f is a sum of `terms` functions of the basis with standard normal coefficients, drawn from the
    seed: `one` for all tasks, or one `per_task`. It is scaled to mean 0 and variance 1 over all
    intervals, so an error of 1 is that of a constant. The basis, with z running from −1 to 1 over
    what the function is of (all intervals, or that of the task):

    - `polynomial`: the Legendre polynomials of degree 1, 2, …
    - `rbf`:        exp(−(z − c)² / 2 w²), the centres c evenly spaced, w their distance
    - `sigmoid`:    1 / (1 + exp(−(z − c) / s)), the same centres, s a third of their distance
    - `fourier`:    sin and cos of π z, 2 π z, … in turn

    Test samples are the function itself, without noise, on an even grid.
    """

    def __init__(
        self,
        *,
        basis: Literal["polynomial", "rbf", "sigmoid", "fourier"],
        terms: Terms,
        function: Literal["one", "per_task"],
        intervals: list[list[Real]],
        samples: PositiveInt,
        noise: NonNegative,
        validation_fraction: Fraction,
    ) -> None:
        ends = [end for interval in intervals for end in interval]
        pairs = all(len(interval) == 2 for interval in intervals)
        if not intervals or not pairs or sorted(set(ends)) != ends:
            allowed = "must be pairs of numbers in increasing order, without overlap"
            raise ConfigError.of("intervals", intervals, allowed, "such as [[-4,-0.5],[0.5,4]]")
        # Inputs, targets and noise of all tasks, and the functions of the basis at those of one.
        refuse_too_large("samples", samples, 8 * samples * (4 * len(intervals) + 2 * terms))
        self.basis, self.terms, self.function = BASES[basis], terms, function
        self.intervals, self.samples, self.noise = intervals, samples, noise
        self.validation_fraction = validation_fraction

    def outline(self, seed: int) -> Outline:
        names = [f"x from {a:g} to {b:g}" for a, b in self.intervals]
        labels = [[0] for _ in names]
        return Outline("regression", names, labels, (1, 1, 1), self.validation_fraction)

    def load(self, *, seed: int, scope: Scope, device: str) -> Stream:
        outline = self.outline(seed)
        preparation: Preparation = AsItIs()
        train, test = self._cut(seed, noisy=True), self._cut(seed, noisy=False)
        return assemble(outline, train, test, preparation, scope=scope, seed=seed, device=device)

    def _cut(self, seed: int, *, noisy: bool) -> Cut:
        functions = self._functions(seed)
        xs, ys, tasks = [], [], []
        for task, ((a, b), f) in enumerate(zip(self.intervals, functions, strict=True)):
            draw = generator(seed, task, "samples")
            x = torch.linspace(a, b, GRID, dtype=torch.float64)
            if noisy:
                x = a + (b - a) * torch.rand(self.samples, generator=draw, dtype=torch.float64)
            y = f(x)
            if noisy:
                y = y + self.noise * torch.randn(len(x), generator=draw, dtype=torch.float64)
            xs.append(x)
            ys.append(y)
            tasks.append(torch.full((len(x),), task))
        x, y = torch.cat(xs).float(), torch.cat(ys).float()
        return Cut(x.view(-1, 1, 1, 1), y, torch.cat(tasks), torch.arange(len(x)))

    def _functions(self, seed: int) -> list[Function]:
        """The function of each task, scaled."""
        whole = [self.intervals[0][0], self.intervals[-1][1]]
        ranges = self.intervals if self.function == "per_task" else [whole] * len(self.intervals)
        draw = generator(seed, "coefficients")
        weights = [torch.randn(self.terms, generator=draw, dtype=torch.float64) for _ in ranges]
        if self.function == "one":
            weights = weights[:1] * len(ranges)
        raw = [self._sum(w, a, b) for w, (a, b) in zip(weights, ranges, strict=True)]
        grids = [torch.linspace(a, b, GRID, dtype=torch.float64) for a, b in self.intervals]
        values = torch.cat([f(x) for f, x in zip(raw, grids, strict=True)])
        return [_scaled(f, values.mean(), values.std(correction=0)) for f in raw]

    def _sum(self, weights: Tensor, a: float, b: float) -> Function:
        return lambda x: self.basis((2 * x - a - b) / (b - a), len(weights)) @ weights


def _scaled(f: Function, mean: Tensor, deviation: Tensor) -> Function:
    return lambda x: (f(x) - mean) / deviation


def _polynomial(z: Tensor, terms: int) -> Tensor:
    """[N, terms], by the recurrence (n + 1) Pₙ₊₁ = (2 n + 1) z Pₙ − n Pₙ₋₁."""
    columns = [torch.ones_like(z), z]
    for n in range(1, terms):
        columns.append(((2 * n + 1) * z * columns[n] - n * columns[n - 1]) / (n + 1))
    return torch.stack(columns[1:], dim=1)


def _centres(terms: int) -> tuple[Tensor, float]:
    """Evenly spaced over [−1, 1], and their distance."""
    return torch.linspace(-1, 1, terms, dtype=torch.float64), 2 / max(1, terms - 1)


def _rbf(z: Tensor, terms: int) -> Tensor:
    centres, distance = _centres(terms)
    return torch.exp(-(z[:, None] - centres).square() / (2 * distance**2))


def _sigmoid(z: Tensor, terms: int) -> Tensor:
    centres, distance = _centres(terms)
    return torch.sigmoid(3 * (z[:, None] - centres) / distance)


def _fourier(z: Tensor, terms: int) -> Tensor:
    waves = [torch.sin if n % 2 == 0 else torch.cos for n in range(terms)]
    return torch.stack([wave(torch.pi * (n // 2 + 1) * z) for n, wave in enumerate(waves)], dim=1)


BASES = {"polynomial": _polynomial, "rbf": _rbf, "sigmoid": _sigmoid, "fourier": _fourier}
