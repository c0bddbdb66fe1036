"""Statistics over a few seeds: intervals, paired tests, Holm's correction for many comparisons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit  # Student's t; scipy.stats takes seconds to import

LEVEL = 0.05
EXACT_UP_TO = 13
"""Up to this many seeds all 2¹³ sign changes are counted; above it, Wilcoxon's test is used."""
NOISE = 1e-10
"""Differences that are equal on paper (0.9 − 0.8 and 0.8 − 0.7) differ in their last bits."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """Mean, sample standard deviation and 95 % interval of the mean (Student's t) of n values.
    Each is None if n is too small for it."""

    mean: float | None
    deviation: float | None
    low: float | None
    high: float | None
    n: int


def spread(values: Sequence[float], lowest: float = -math.inf, highest: float = math.inf) -> Spread:
    """The spread of values over seeds. One value has no deviation and no interval.

    lowest, highest: no value can be beyond them, so the interval ends there.
    """
    n = len(values)
    mean = fmean(values) if n else None
    if mean is None or n < 2:
        return Spread(mean, None, None, None, n)
    deviation = stdev(values)
    if deviation <= NOISE * max(map(abs, values)):
        deviation = 0.0
    half = float(stdtrit(n - 1, 1 - LEVEL / 2)) * deviation / math.sqrt(n)
    return Spread(mean, deviation, max(mean - half, lowest), min(mean + half, highest), n)


@dataclass(frozen=True)
class TTest:
    """Student's t-test of each row of differences: their mean, its standard error, two-sided p.
    Each is an array with one number a row. p is NaN where there is nothing to test."""

    mean: Floats
    error: Floats
    p: Floats


def t_test(differences: ArrayLike, step: float = 0.0) -> TTest:
    """Test whether differences [..., n] of n seeds have the mean 0.

    step: the finest difference that can be measured, for values that are counted. Seeds that give
    the same count have a standard deviation of 0, which proves nothing about the next seed. So it
    is taken to be at least one step: counting hides a spread of that size. Without a step, a row
    of equal differences other than 0 has no test.
    """
    rows = np.asarray(differences, dtype=float)
    n = rows.shape[-1]
    if n < 2:
        nothing = np.full(rows.shape[:-1], math.nan)
        return TTest(rows.mean(-1) if n else nothing, nothing, nothing)
    rounding = NOISE * np.abs(rows).max(-1)
    mean, deviation = rows.mean(-1), rows.std(-1, ddof=1)
    mean = np.where(np.abs(mean) <= rounding, 0.0, mean)
    deviation = np.maximum(np.where(deviation <= rounding, 0.0, deviation), step)
    error = deviation / math.sqrt(n)
    t = np.divide(mean, error, out=np.full(mean.shape, math.nan), where=error > 0)
    p = 2 * stdtr(n - 1, -np.abs(t))
    return TTest(mean, error, np.where(mean == 0, 1.0, p))


def half_width(error: float, n: int, confidence: float) -> float:
    """Half the width of Student's interval of a mean of n values with this standard error."""
    return float(stdtrit(n - 1, (1 + confidence) / 2)) * error


@dataclass(frozen=True)
class Holm:
    """Holm's correction (1979) of rows of p values, which bounds the chance of any false positive.

    p: corrected. confidence: that of the interval which excludes 0 exactly where the corrected p is
    below 0.05. It is 1 − 0.05/k, where k p values were left at this one's step; those that are not
    significant share the step at which the procedure stopped. Each is at least 0.95.
    """

    p: Floats
    confidence: Floats


def holm(ps: ArrayLike) -> Holm:
    """Correct each row of p values [..., m]. NaN is a comparison that could not be made, and is
    not counted."""
    given = np.asarray(ps, dtype=float)
    order = np.argsort(given, axis=-1)  # NaN last
    ordered = np.take_along_axis(given, order, -1)
    made = np.sum(~np.isnan(given), axis=-1, keepdims=True)
    rank = np.arange(given.shape[-1])
    left = np.maximum(made - rank, 1)
    corrected = np.minimum(1.0, np.maximum.accumulate(ordered * left, axis=-1))
    significant = np.sum(corrected < LEVEL, axis=-1, keepdims=True)
    step = np.maximum(made - np.minimum(rank, significant), 1)
    return Holm(_back(corrected, order), _back(1 - LEVEL / step, order))


def _back(ordered: Floats, order: NDArray[Any]) -> Floats:
    """Undo a sorting along the last axis."""
    given = np.empty_like(ordered)
    np.put_along_axis(given, order, ordered, -1)
    return given


def p_of_signs(differences: Sequence[float]) -> float:
    """Two-sided p of a test that only assumes symmetry: among all 2ⁿ changes of the differences'
    signs, the share with a mean at least as far from 0. Above 13 seeds, Wilcoxon's signed ranks."""
    if not any(differences):
        return 1.0
    if len(differences) > EXACT_UP_TO:
        from scipy.stats import wilcoxon

        return float(wilcoxon(differences).pvalue)
    n, largest = len(differences), max(map(abs, differences))
    signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    means = np.abs(signs @ np.array(differences) / n)
    return float(np.mean(means >= abs(fmean(differences)) - NOISE * largest))


def smallest_p_of_signs(n: int) -> float:
    """The smallest p that the test of signs can give with n seeds: 2 of 2ⁿ, if all differences have
    the same sign."""
    return min(1.0, 2.0 ** (1 - n))
