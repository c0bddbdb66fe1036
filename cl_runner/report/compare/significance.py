"""Statistics over a few seeds: intervals, paired tests, corrections for many comparisons."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import numpy as np
from scipy.special import stdtrit  # Student's t; scipy.stats takes seconds to import

LEVEL = 0.05
EXACT_UP_TO = 13
"""Up to this many seeds all 2¹³ sign changes are counted; above it, Wilcoxon's test is used."""
NOISE = 1e-10
"""Differences that are equal on paper (0.9 − 0.8 and 0.8 − 0.7) differ in their last bits."""


@dataclass(frozen=True)
class Spread:
    """Mean, sample standard deviation and 95 % interval of the mean (Student's t) of n values.
    Each is None if n is too small for it."""

    mean: float | None
    deviation: float | None
    low: float | None
    high: float | None
    n: int


def spread(values: Sequence[float]) -> Spread:
    """The spread of values over seeds. One value has no deviation and no interval."""
    n = len(values)
    mean = fmean(values) if n else None
    if mean is None or n < 2:
        return Spread(mean, None, None, None, n)
    deviation = stdev(values)
    if deviation <= NOISE * max(map(abs, values)):
        deviation = 0.0
    half = float(stdtrit(n - 1, 1 - LEVEL / 2)) * deviation / math.sqrt(n)
    return Spread(mean, deviation, mean - half, mean + half, n)


@dataclass(frozen=True)
class Paired:
    """The difference between two settings over the seeds that both have.

    effect: mean / standard deviation of the differences (Cohen's d for pairs); None if it is
    undefined. p: two-sided; None for fewer than two seeds.
    """

    difference: Spread
    effect: float | None
    p: float | None


def paired(first: Mapping[Any, float], second: Mapping[Any, float]) -> Paired:
    """first − second, seed by seed. The test flips the signs of the n differences in all 2ⁿ ways
    and counts how many give a mean at least as far from 0. Above 13 seeds it is Wilcoxon's."""
    differences = [first[seed] - second[seed] for seed in first if seed in second]
    difference = spread(differences)
    if difference.deviation is None or difference.mean is None:
        return Paired(difference, None, None)
    effect = difference.mean / difference.deviation if difference.deviation > 0 else None
    return Paired(difference, effect, _p(differences))


def _p(differences: Sequence[float]) -> float:
    if not any(differences):
        return 1.0
    if len(differences) > EXACT_UP_TO:
        from scipy.stats import wilcoxon

        return float(wilcoxon(differences).pvalue)
    n, largest = len(differences), max(map(abs, differences))
    signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    means = np.abs(signs @ np.array(differences) / n)
    return float(np.mean(means >= abs(fmean(differences)) - NOISE * largest))


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """p values corrected for their number (Holm 1979), which bounds the chance of any false
    positive. A comparison that could not be made (None) is not counted."""
    made = sorted((p, number) for number, p in enumerate(ps) if p is not None)
    corrected: list[float | None] = [None] * len(ps)
    largest = 0.0
    for rank, (p, number) in enumerate(made):
        largest = max(largest, min(1.0, p * (len(made) - rank)))
        corrected[number] = largest
    return corrected


def smallest_p(n: int) -> float:
    """The smallest p that the sign test of means can give with n seeds: 2 of 2ⁿ, if all
    differences have the same sign."""
    return min(1.0, 2.0 ** (1 - n))


def seeds_needed(comparisons: int) -> int:
    """The fewest seeds with which one of this many comparisons can have p < 0.05 after Holm."""
    return next(n for n in range(2, 64) if comparisons * smallest_p(n) < LEVEL)
