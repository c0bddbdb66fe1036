"""Statistics over seeds, checked against closed forms, brute force and published examples."""

from __future__ import annotations

import math
from itertools import product

import pytest
from scipy import stats

from cl_runner.report.compare import significance as statistics
from cl_runner.report.compare.significance import holm, paired, seeds_needed, smallest_p, spread


def test_the_interval_is_by_students_t() -> None:
    """The mean of 1, 2, 3 is 2 ± 4.3027 / √3 (t's 97.5 % quantile with 2 degrees of freedom)."""
    result = spread([1.0, 2.0, 3.0])
    half = 4.302652729911275 / math.sqrt(3)
    assert (result.mean, result.deviation, result.n) == (2.0, 1.0, 3)
    assert (result.low, result.high) == pytest.approx((2 - half, 2 + half))


@pytest.mark.parametrize(("values", "mean"), [([], None), ([0.7], 0.7)])
def test_too_few_values_have_no_interval(values: list[float], mean: float | None) -> None:
    result = spread(values)
    assert (result.mean, result.deviation, result.low, result.n) == (mean, None, None, len(values))


DIFFERENCES = ([0.3, 0.1, -0.2, 0.4, 0.25], [1, 1, 1, 1, 1, 1], [0.1, 0.2, 0.3], [0.1, -0.1, 0.0])


@pytest.mark.parametrize("differences", DIFFERENCES)
def test_p_counts_all_changes_of_sign(differences: list[float]) -> None:
    first = {seed: 5 + d for seed, d in enumerate(differences)}
    second = dict.fromkeys(first, 5.0)
    observed = abs(sum(differences))
    signs = list(product((-1, 1), repeat=len(differences)))
    as_far = sum(
        abs(sum(s * d for s, d in zip(row, differences, strict=True))) >= observed - 1e-12
        for row in signs
    )
    assert paired(first, second).p == pytest.approx(as_far / len(signs))


def test_p_agrees_with_scipys_permutation_test() -> None:
    first = {0: 0.91, 1: 0.87, 2: 0.93, 3: 0.88, 4: 0.9, 5: 0.86, 6: 0.95}
    second = {0: 0.9, 1: 0.88, 2: 0.9, 3: 0.85, 4: 0.84, 5: 0.83, 6: 0.91}
    expected = stats.permutation_test(
        ([first[k] - second[k] for k in first],), lambda x: x.mean(), permutation_type="samples"
    )
    assert paired(first, second).p == pytest.approx(expected.pvalue)


def test_many_seeds_use_wilcoxons_test() -> None:
    first = {seed: seed / 7 % 1 + 0.1 for seed in range(20)}
    second = {seed: seed / 5 % 1 for seed in range(20)}
    expected = stats.wilcoxon([first[k] - second[k] for k in first]).pvalue
    assert paired(first, second).p == pytest.approx(expected)


def test_only_shared_seeds_are_compared() -> None:
    result = paired({0: 1.0, 1: 2.0, 5: 100.0}, {1: 1.0, 0: 0.5, 7: -100.0})
    assert result.difference.n == 2
    assert result.difference.mean == pytest.approx(0.75)
    assert result.effect == pytest.approx(0.75 / math.sqrt(0.125))  # s.d. of 0.5 and 1
    assert paired({0: 1.0}, {0: 2.0}).p is None
    assert paired({0: 1.0, 1: 1.0}, {0: 1.0, 1: 1.0}).p == 1.0


def test_a_sum_that_is_0_on_paper_has_p_1() -> None:
    """0.4 + 0.2 − 0.1 − 0.2 − 0.3, each the difference of two accuracies, whatever their last
    bits."""
    first = {0: 1.1, 1: 0.5, 2: 0.3, 3: 0.1, 4: 0.5}
    second = {0: 0.7, 1: 0.3, 2: 0.4, 3: 0.3, 4: 0.8}
    assert paired(first, second).p == 1.0


def test_differences_that_are_equal_on_paper_have_no_spread() -> None:
    """0.9 − 0.8 and 0.8 − 0.7 differ only in their last bits: no effect size of 10¹⁵."""
    result = paired({0: 0.9, 1: 0.8, 2: 0.4}, {0: 0.8, 1: 0.7, 2: 0.3})
    assert result.difference.deviation == 0 and result.effect is None
    assert result.p == smallest_p(3)


def test_holm_as_worked_by_hand() -> None:
    """0.005 · 4, 0.01 · 3, then 0.03 · 2, and 0.04 · 1, which is raised to 0.06."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([None, 0.04]) == [None, pytest.approx(0.04)]
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@pytest.mark.parametrize("n", [2, 3, 6])
def test_the_smallest_p_is_reached(n: int) -> None:
    apart = paired({k: 1.0 + k for k in range(n)}, dict.fromkeys(range(n), 0.0))
    assert apart.p == smallest_p(n) == 2 / 2**n


@pytest.mark.parametrize("comparisons", [1, 2, 5, 15])
def test_with_the_seeds_needed_a_difference_can_be_shown(comparisons: int) -> None:
    n = seeds_needed(comparisons)
    clear = {k: 1.0 + k for k in range(n)}
    ps = [paired(clear, dict.fromkeys(clear, 0.0)).p] + [1.0] * (comparisons - 1)
    assert (holm(ps)[0] or 0) < statistics.LEVEL
    fewer = [smallest_p(n - 1)] + [1.0] * (comparisons - 1)
    assert (holm(fewer)[0] or 0) >= statistics.LEVEL
