"""Regression in one dimension: noisy samples of random functions, each task on an interval."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from cl_runner.config.setting_types import Fraction, NonNegative, PositiveInt, Real
from cl_runner.config.targets import target
from cl_runner.data.assemble import Cut, assemble
from cl_runner.data.samples import Unchanged
from cl_runner.data.stream import Outline, Scope, Stream
from cl_runner.errors import ConfigError
from cl_runner.machine import refuse_too_large
from cl_runner.randomness import generator

GRID = 200  # test inputs of a task, evenly spaced over its interval
Terms = Annotated[int, Field(ge=1, le=100)]


@target
class Regression:
    """One interval per task: `samples` inputs uniform in it, targets f(x) + noise · N(0, 1).

    f is a sum of `terms` basis functions with standard normal coefficients drawn from the seed:
    `one` for all tasks, or one `per_task`. It is scaled to mean 0 and variance 1 over all
    intervals, so that a constant has an error of 1. The basis, where z runs from −1 to 1 over all
    intervals or, with `per_task`, over that of the task:

    - `polynomial`: the Legendre polynomials of degree 1, 2, …
    - `rbf`:        exp(−(z − c)² / 2 w²), the centres c evenly spaced at distance w
    - `sigmoid`:    1 / (1 + exp(−(z − c) / s)), the same centres, s a third of their distance
    - `fourier`:    sin and cos of π z, 2 π z, … in turn

    The test samples are f without noise on an even grid.
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
        blurry: Fraction,
        repetition: Fraction,
        validation_fraction: Fraction,
    ) -> None:
        ends = [end for interval in intervals for end in interval]
        pairs = all(len(interval) == 2 for interval in intervals)
        if not intervals or not pairs or sorted(set(ends)) != ends:
            allowed = "must be pairs of numbers in increasing order, without overlap"
            raise ConfigError.of("intervals", intervals, allowed, "such as [[-4,-0.5],[0.5,4]]")
        # Inputs, targets and noise of all tasks, and the basis functions at the inputs of one.
        refuse_too_large("samples", samples, 8 * samples * (4 * len(intervals) + 2 * terms))
        self.basis, self.terms, self.function = BASES[basis], terms, function
        self.intervals, self.samples, self.noise = intervals, samples, noise
        self.validation_fraction = validation_fraction
        self.blurry, self.repetition = blurry, repetition

    def outline(self, seed: int) -> Outline:
        names = [f"x from {a:g} to {b:g}" for a, b in self.intervals]
        labels = [[0] for _ in names]
        outline = Outline("regression", names, labels, (1, 1, 1), self.validation_fraction)
        return replace(outline, blurry=self.blurry, repetition=self.repetition)

    def load(self, *, seed: int, scope: Scope, device: str) -> Stream:
        outline = self.outline(seed)
        draws = [generator(seed, task, "samples") for task in range(len(self.intervals))]
        uniform = [torch.rand(self.samples, generator=draw, dtype=torch.float64) for draw in draws]
        noise = [torch.randn(self.samples, generator=draw, dtype=torch.float64) for draw in draws]
        inputs = [a + (b - a) * u for u, (a, b) in zip(uniform, self.intervals, strict=True)]
        grids = [torch.linspace(a, b, GRID, dtype=torch.float64) for a, b in self.intervals]
        f, on_grids = self._sums(inputs, seed), self._sums(grids, seed)
        mean, deviation = on_grids.mean(), on_grids.std(correction=0)
        train = _cut(inputs, (f - mean) / deviation + self.noise * torch.cat(noise))
        test = _cut(grids, (on_grids - mean) / deviation)
        return assemble(outline, train, test, Unchanged(), scope=scope, seed=seed, device=device)

    def _sums(self, inputs: list[Tensor], seed: int) -> Tensor:
        """The functions, not scaled yet, at the inputs of each task, one task after another."""
        whole = [self.intervals[0][0], self.intervals[-1][1]]
        ranges = self.intervals if self.function == "per_task" else [whole] * len(self.intervals)
        draw = generator(seed, "coefficients")
        weights = [torch.randn(self.terms, generator=draw, dtype=torch.float64) for _ in ranges]
        if self.function == "one":
            weights = weights[:1] * len(ranges)
        parts = zip(inputs, weights, ranges, strict=True)
        return torch.cat(
            [self.basis((2 * x - a - b) / (b - a), self.terms) @ w for x, w, (a, b) in parts]
        )


def _cut(inputs: list[Tensor], targets: Tensor) -> Cut:
    """inputs: of each task, equally many."""
    x = torch.cat(inputs).float().view(-1, 1, 1, 1)
    tasks = torch.arange(len(inputs)).repeat_interleave(len(inputs[0]))
    return Cut(x, targets.float(), tasks, torch.arange(len(x)))


def _polynomial(z: Tensor, terms: int) -> Tensor:
    """[N, terms], by the recurrence (n + 1) Pₙ₊₁ = (2 n + 1) z Pₙ − n Pₙ₋₁."""
    columns = [torch.ones_like(z), z]
    for n in range(1, terms):
        columns.append(((2 * n + 1) * z * columns[n] - n * columns[n - 1]) / (n + 1))
    return torch.stack(columns[1:], dim=1)


def _centres(terms: int) -> tuple[Tensor, float]:
    """Centres evenly spaced over [−1, 1], and their distance."""
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
