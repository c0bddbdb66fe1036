"""What is read off the matrix of a run, each metric with its definition.

R[t][k] is the accuracy on task k's test samples after learning task t, None above the diagonal;
M[t][k] is the mean squared error in its place, in regression. T is the number of tasks, which are
counted from 1. A metric that does not apply is None, never 0 or NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

Matrix = list[list[float | None]]


def average_accuracy(R: Matrix) -> float:
    """Mean over tasks k of R[T][k]."""
    return fmean(_row(R, -1))


def overall_accuracy(R: Matrix, sizes: Sequence[int]) -> float:
    """Mean over all test samples after the last task: tasks weighted by their test samples."""
    return fmean(_row(R, -1), sizes)


def average_incremental_accuracy(R: Matrix) -> float:
    """Mean over t of the mean over tasks k ≤ t of R[t][k]: each task counts the same (Wang et al.
    2024). Not iCaRL's where tasks differ in test samples: that is overall_incremental_accuracy."""
    return fmean(fmean(_row(R, t)) for t in range(len(R)))


def overall_incremental_accuracy(R: Matrix, sizes: Sequence[int]) -> float:
    """Mean over t of the accuracy on all test samples of tasks k ≤ t together, after task t:
    iCaRL's average incremental accuracy (Rebuffi et al. 2017)."""
    return fmean(fmean(_row(R, t), sizes[: t + 1]) for t in range(len(R)))


def learning_accuracy(R: Matrix) -> float:
    """Mean over tasks k of R[k][k]: how well each was learned at its time (Riemer et al. 2019)."""
    return fmean(_diagonal(R))


def forgetting(R: Matrix) -> float | None:
    """Mean over k < T of max over k ≤ t < T of R[t][k], minus R[T][k]; negative where tasks end
    better than they ever were (Chaudhry et al. 2018, whose max has the rows t < k too)."""
    last = _row(R, -1)
    best = [max(_row(R, t)[k] for t in range(k, len(R) - 1)) for k in range(len(R) - 1)]
    return fmean(b - a for b, a in zip(best, last, strict=False)) if best else None


def backward_transfer(R: Matrix) -> float | None:
    """Mean over k < T of R[T][k] − R[k][k] (Lopez-Paz & Ranzato 2017). Minus the forgetting where
    no task was ever better than right after it was learned, else more than that."""
    pairs = list(zip(_row(R, -1), _diagonal(R), strict=True))[:-1]
    return fmean(last - first for last, first in pairs) if pairs else None


def forward_transfer(before: Sequence[float | None], untrained: Sequence[float]) -> float | None:
    """Mean over k > 1 of the accuracy on task k just before it is learned, minus that of the
    network before the first task (Lopez-Paz & Ranzato 2017). Only where tasks share classes."""
    pairs = [(b, u) for b, u in zip(before, untrained, strict=False) if b is not None]
    return fmean(b - u for b, u in pairs) if pairs else None


def intransigence(R: Matrix, reference: Matrix) -> float:
    """Mean over k of reference[k][k] − R[k][k]; the reference run is usually joint training on
    tasks 1 … k (Chaudhry et al. 2018, who give it for each k). Negative where ours is better."""
    return fmean(a - b for a, b in zip(_diagonal(reference), _diagonal(R), strict=True))


def min_accuracy(curve: Sequence[tuple[int, Sequence[float]]]) -> float | None:
    """Mean over k < T of the lowest accuracy on task k at any evaluation while later tasks were
    learned, their ends included (De Lange et al. 2023, min-ACC)."""
    # curve: at each evaluation the task being learned, and the accuracies of tasks so far
    earlier = range(max((task for task, _ in curve), default=0))
    return fmean(min(row[k] for t, row in curve if t > k) for k in earlier) if earlier else None


def stability_gap(R: Matrix, curve: Sequence[tuple[int, Sequence[float]]]) -> float | None:
    """Mean over all pairs of tasks k < t of R[t−1][k] minus the lowest accuracy on task k while
    task t is learned, its end included: how deep it falls, whether or not it recovers, so lasting
    forgetting is in it. Our number for what De Lange et al. (2023) show as curves."""
    drops = [
        _row(R, t - 1)[k] - min(row[k] for task, row in curve if task == t)
        for t in range(1, len(R))
        for k in range(t)
    ]
    return fmean(drops) if drops else None


def average_mse(M: Matrix) -> float:
    """Mean over tasks k of M[T][k]."""
    return fmean(_row(M, -1))


def mse_growth(M: Matrix) -> float | None:
    """Mean over k < T of M[T][k] / M[k][k]: how many times larger the error on earlier tasks has
    become since they were learned."""
    last = _row(M, -1)
    ratios = [last[k] / _row(M, k)[k] for k in range(len(M) - 1)]
    return fmean(ratios) if ratios else None


METRICS = {
    metric.__name__: " ".join((metric.__doc__ or "").split())
    for metric in (
        average_accuracy,
        overall_accuracy,
        average_incremental_accuracy,
        overall_incremental_accuracy,
        learning_accuracy,
        forgetting,
        backward_transfer,
        forward_transfer,
        intransigence,
        min_accuracy,
        stability_gap,
        average_mse,
        mse_growth,
    )
}
"""The definition of each metric, to stand beside its number."""


def _row(R: Matrix, t: int) -> list[float]:
    return [a for a in R[t] if a is not None]


def _diagonal(R: Matrix) -> list[float]:
    return [_row(R, t)[-1] for t in range(len(R))]
