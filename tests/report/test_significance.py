"""Statistics over seeds, checked against closed forms, brute force, scipy and simulation."""

from __future__ import annotations

import math
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from cl_runner.report.compare.significance import (
    LEVEL,
    half_width,
    holm,
    p_of_signs,
    smallest_p_of_signs,
    spread,
    t_test,
)

sys.path.append(str(Path(__file__).parents[2] / "scripts"))

import verdict_errors  # it needs the line above


def test_the_interval_is_by_students_t() -> None:
    """The mean of 1, 2, 3 is 2 ± 4.3027 / √3 (t's 97.5 % quantile with 2 degrees of freedom)."""
    result = spread([1.0, 2.0, 3.0])
    half = 4.302652729911275 / math.sqrt(3)
    assert (result.mean, result.deviation, result.n) == (2.0, 1.0, 3)
    assert (result.low, result.high) == pytest.approx((2 - half, 2 + half))


def test_no_interval_goes_beyond_what_can_be() -> None:
    assert (spread([0.1, 0.9], 0, 1).low, spread([0.1, 0.9], 0, 1).high) == (0, 1)


@pytest.mark.parametrize(("values", "mean"), [([], None), ([0.7], 0.7)])
def test_too_few_values_have_no_interval(values: list[float], mean: float | None) -> None:
    result = spread(values)
    assert (result.mean, result.deviation, result.low, result.n) == (mean, None, None, len(values))
    assert math.isnan(t_test(values).p)


DIFFERENCES = ([0.3, 0.1, -0.2, 0.4, 0.25], [1, 1, 1, 1, 1, 1], [0.1, 0.2, 0.3], [0.1, -0.1, 0.0])


@pytest.mark.parametrize("differences", DIFFERENCES[::2])
def test_students_test_agrees_with_scipys(differences: list[float]) -> None:
    expected = stats.ttest_1samp(differences, 0)
    test = t_test(differences)
    assert float(test.p) == pytest.approx(expected.pvalue)
    low, high = expected.confidence_interval(0.99)
    half = half_width(float(test.error), len(differences), 0.99)
    assert (test.mean - half, test.mean + half) == pytest.approx((low, high))


def test_equal_counts_are_no_proof() -> None:
    """Three seeds that differ by one sample each; by a hundred, which is far more than a step."""
    assert t_test([0.01] * 3, step=0.01).p == pytest.approx(2 * stats.t.sf(math.sqrt(3), 2))
    assert t_test([1.0] * 3, step=0.01).p < 0.001
    assert t_test([0.0] * 3, step=0.01).p == 1 and t_test([0.0] * 3).p == 1
    assert math.isnan(t_test([0.5] * 3).p)  # no count: nothing is known of the spread


def test_differences_that_are_equal_on_paper_have_no_spread() -> None:
    """0.9 − 0.8 and 0.8 − 0.7 differ only in their last bits, and 0.4 + 0.2 − 0.6 is 0."""
    assert math.isnan(t_test([0.9 - 0.8, 0.8 - 0.7, 0.4 - 0.3]).p)
    assert t_test([1.1 - 0.7, 0.5 - 0.3, 0.3 - 0.4, 0.1 - 0.3, 0.5 - 0.8]).p == 1


@pytest.mark.parametrize("differences", DIFFERENCES)
def test_the_p_of_signs_counts_all_changes(differences: list[float]) -> None:
    observed = abs(sum(differences))
    signs = list(product((-1, 1), repeat=len(differences)))
    as_far = sum(
        abs(sum(s * d for s, d in zip(row, differences, strict=True))) >= observed - 1e-12
        for row in signs
    )
    assert p_of_signs(differences) == pytest.approx(as_far / len(signs))


def test_the_p_of_signs_agrees_with_scipys() -> None:
    differences = [0.01, -0.01, 0.03, 0.03, 0.06, 0.03, 0.04]
    expected = stats.permutation_test(
        (differences,), lambda x: x.mean(), permutation_type="samples"
    )
    assert p_of_signs(differences) == pytest.approx(expected.pvalue)
    many = [seed / 7 % 1 + 0.1 - seed / 5 % 1 for seed in range(20)]
    assert p_of_signs(many) == pytest.approx(stats.wilcoxon(many).pvalue)


@pytest.mark.parametrize("n", [2, 3, 6])
def test_the_smallest_p_of_signs_is_reached(n: int) -> None:
    assert p_of_signs([1.0 + k for k in range(n)]) == smallest_p_of_signs(n) == 2 / 2**n


def test_holm_as_worked_by_hand() -> None:
    """0.005 · 4, 0.01 · 3, then 0.03 · 2, and 0.04 · 1, which is raised to 0.06."""
    assert holm([0.01, 0.04, 0.03, 0.005]).p == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([math.nan, 0.04]).p == pytest.approx([math.nan, 0.04], nan_ok=True)
    assert list(holm([0.9, 0.8]).p) == [1, 1] and len(holm([]).p) == 0
    # Four are left at the first step, three at the second, which is the last; then it stops.
    corrected = holm([0.01, 0.04, 0.03, 0.005]).confidence
    assert corrected == pytest.approx([1 - 0.05 / 3, 1 - 0.05 / 2, 1 - 0.05 / 2, 1 - 0.05 / 4])


def test_an_interval_excludes_0_exactly_where_a_difference_is_called() -> None:
    """A thousand experiments with five comparisons each, about half of which are called."""
    rng = np.random.default_rng(1)
    test = t_test(rng.normal(rng.uniform(0, 3, (1000, 5, 1)), size=(1000, 5, 4)))
    corrected = holm(test.p)
    half = test.error * stats.t.ppf((1 + corrected.confidence) / 2, 3)
    called = corrected.p < LEVEL
    assert 0.2 < called.mean() < 0.8
    assert np.array_equal(called, np.abs(test.mean) > half)
    assert corrected.confidence.min() == pytest.approx(0.95)
    assert corrected.confidence.max() == pytest.approx(0.99)


REPEATS = 10_000
WITHIN = [kind for kind in verdict_errors.NO_DIFFERENCE if kind not in verdict_errors.BEYOND]


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_at_most_6_percent_see_a_difference_where_there_is_none(seeds: int) -> None:
    """Five comparisons, under normal, skewed and tied seeds."""
    rates = {kind: verdict_errors.errors(kind, seeds, REPEATS) for kind in WITHIN}
    assert {kind: rate for kind, rate in rates.items() if rate > 0.06} == {}
    assert rates["normal"] > 0.04  # and no test is needlessly strict


def test_ties_would_fool_a_plain_t_test() -> None:
    """Without the step, equal differences would be called: the simulation above can fail."""
    ties = verdict_errors.differences("tied: a test sample is two s.d.", 3, REPEATS)
    equal = (np.ptp(ties, axis=-1) == 0) & (ties[..., 0] != 0)
    assert equal.any(-1).mean() > 0.06


def test_without_holm_far_more_would_see_a_difference() -> None:
    plain = t_test(verdict_errors.differences("normal", 5, REPEATS)).p < LEVEL
    assert plain.any(-1).mean() > 0.1


def test_a_difference_of_three_deviations_is_seen_with_five_seeds() -> None:
    assert verdict_errors.power(seeds=5, repeats=REPEATS) >= 0.8


def test_few_are_called_equivalent_that_are_not() -> None:
    """Five differences as large as the margin, four standard deviations: each interval that lies
    within is wrong."""
    rng = np.random.default_rng(2)
    test = t_test(rng.normal(4.0, size=(REPEATS, 5, 5)))
    half = test.error * stats.t.ppf((1 + holm(test.p).confidence) / 2, 4)
    assert (test.mean + half < 4).any(-1).mean() <= 0.06
