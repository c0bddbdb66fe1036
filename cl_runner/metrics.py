"""The registry of metrics, which are computed from the raw records of a run.

R[t][k] is the accuracy on task k's test samples after learning task t, None above the diagonal.
M[t][k] is the same for the mean squared error in regression. Tasks are counted from 1 to T. A
metric that does not apply is None, never 0 or NaN.

A metric is a function of raw records, registered with its unit and its direction. All that shows,
ranks, stores or documents metrics reads the registry, so a metric added here appears in the run
folder, the report, W&B and docs/metrics.md, and is computed for older runs too. A package of the
user's registers its own in the same way; what they raise changes no run.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from statistics import fmean
from typing import SupportsFloat, TypeVar

from cl_runner.errors import MISSING, ConfigError, first_line
from cl_runner.measures import CHANGE, ERROR, RATIO, SHARE, Quantity, Unit
from cl_runner.records import NAMES
from cl_runner.records import Curve as Curve
from cl_runner.records import Matrix as Matrix
from cl_runner.records import Records as Records

log = logging.getLogger("cl_runner")


@dataclass(frozen=True, kw_only=True)
class Metric(Quantity):
    """One number of a run, computed from its records."""

    definition: str
    function: Callable[..., float | None]  # its parameters are names of records

    @property
    def is_own(self) -> bool:
        """Whether it is one of the user's."""
        return self.function.__module__.partition(".")[0] != __name__.partition(".")[0]

    def of(self, records: Records, warn: Callable[[str], None] = log.warning) -> float | None:
        """The value; None if a record is missing or the metric does not apply. One of the user's
        has records of its own, so that it cannot change any; if it fails, it is None, with a
        warning."""
        if not self.is_own:
            return self._value(records)
        try:
            value = self._value(records)
            if value is None or self.allows(value):
                return None if value is None else float(value)
            problem = f"{value!r} is not a number in its unit ({self.unit.name})"
        except (Exception, SystemExit) as error:
            problem = first_line(error)
        warn(f"the metric {self.name} is null: {problem}")
        return None

    def allows(self, value: object) -> bool:
        """Whether it is a number that the unit can have."""
        if not isinstance(value, SupportsFloat) or isinstance(value, bool):
            return False
        try:
            return abs(float(value)) <= self.unit.limit
        except OverflowError:  # an integer beyond all floats
            return False

    def _value(self, records: Records) -> float | None:
        needed = [getattr(records, name) for name in inspect.signature(self.function).parameters]
        if any(record is None for record in needed):
            return None
        return self.function(*(deepcopy(needed) if self.is_own else needed))


METRICS: dict[str, Metric] = {}
"""By name, in the order of display."""
TAKEN = {"run", "folder", "state", "seconds"}
"""Columns of `to_pandas` and keys of `results.json` that are no metrics."""
Function = TypeVar("Function", bound=Callable[..., float | None])


def metric(unit: Unit, *, more_is_better: bool) -> Callable[[Function], Function]:
    """Register a function of records under its name; its docstring is the definition.

    Raises ConfigError if there is a metric, a key of `results.json` or a column of `to_pandas` with
    its name already, or if there is no record with the name of one of its parameters.
    """

    def register(function: Function) -> Function:
        name = function.__name__
        _refuse(function)
        METRICS[name] = Metric(
            name=name,
            title=name.replace("_", " "),
            unit=unit,
            more_is_better=more_is_better,
            definition=" ".join((function.__doc__ or "").split()),
            function=function,
        )
        return function

    return register


def _refuse(function: Callable[..., object]) -> None:
    """Raise ConfigError for a metric that cannot be registered."""
    key, there = f"metric {function.__name__}", METRICS.get(function.__name__)
    if function.__name__ in TAKEN or (
        there is not None and there.function.__module__ != function.__module__
    ):
        allowed = f"of {function.__module__} has a name that is taken"
        raise ConfigError.of(key, MISSING, allowed, "rename the function")
    for name in inspect.signature(function).parameters:
        if name not in NAMES:
            allowed = f"of {function.__module__} asks for {name}, which no run records"
            raise ConfigError.of(key, MISSING, allowed, f"known are {', '.join(NAMES)}")


@metric(SHARE, more_is_better=True)
def average_accuracy(R: Matrix) -> float:
    """Mean over tasks k of R[T][k]."""
    return fmean(_row(R, -1))


@metric(SHARE, more_is_better=True)
def overall_accuracy(R: Matrix, sizes: Sequence[int]) -> float:
    """Accuracy after the last task on all test samples together: tasks weighted by their size."""
    return fmean(_row(R, -1), sizes)


@metric(SHARE, more_is_better=True)
def average_incremental_accuracy(R: Matrix) -> float:
    """Mean over t of the mean over tasks k ≤ t of R[t][k]: each task counts the same (Wang et al.
    2024). Not iCaRL's where tasks differ in test samples: that is overall_incremental_accuracy."""
    return fmean(fmean(_row(R, t)) for t in range(len(R)))


@metric(SHARE, more_is_better=True)
def overall_incremental_accuracy(R: Matrix, sizes: Sequence[int]) -> float:
    """Mean over t of the accuracy on all test samples of tasks k ≤ t together, after task t:
    iCaRL's average incremental accuracy (Rebuffi et al. 2017)."""
    return fmean(fmean(_row(R, t), sizes[: t + 1]) for t in range(len(R)))


@metric(SHARE, more_is_better=True)
def learning_accuracy(R: Matrix) -> float:
    """Mean over tasks k of R[k][k]: how well each was learned at its time (Riemer et al. 2019)."""
    return fmean(_diagonal(R))


@metric(CHANGE, more_is_better=False)
def forgetting(R: Matrix) -> float | None:
    """Mean over k < T of max over k ≤ t < T of R[t][k], minus R[T][k]; negative where tasks end
    better than they ever were (Chaudhry et al. 2018, whose max has the rows t < k too)."""
    last = _row(R, -1)
    best = [max(_row(R, t)[k] for t in range(k, len(R) - 1)) for k in range(len(R) - 1)]
    return fmean(b - a for b, a in zip(best, last, strict=False)) if best else None


@metric(CHANGE, more_is_better=True)
def backward_transfer(R: Matrix) -> float | None:
    """Mean over k < T of R[T][k] − R[k][k] (Lopez-Paz & Ranzato 2017). Minus the forgetting where
    no task was ever better than right after it was learned, else more than that."""
    pairs = list(zip(_row(R, -1), _diagonal(R), strict=True))[:-1]
    return fmean(last - first for last, first in pairs) if pairs else None


@metric(CHANGE, more_is_better=True)
def forward_transfer(before: Sequence[float | None], untrained: Sequence[float]) -> float | None:
    """Mean over k > 1 of the accuracy on task k just before it is learned, minus that of the
    network before the first task (Lopez-Paz & Ranzato 2017). Domain-incremental streams only."""
    pairs = [(b, u) for b, u in zip(before, untrained, strict=False) if b is not None]
    return fmean(b - u for b, u in pairs) if pairs else None


@metric(CHANGE, more_is_better=False)
def intransigence(R: Matrix, reference: Matrix) -> float:
    """Mean over k of R[k][k] of the run named by `reference=`, minus ours: usually joint training
    on tasks 1 … k (Chaudhry et al. 2018, who give it for each k). Negative where ours is better."""
    return fmean(a - b for a, b in zip(_diagonal(reference), _diagonal(R), strict=True))


@metric(SHARE, more_is_better=True)
def min_accuracy(curve: Curve) -> float | None:
    """Mean over k < T of the lowest accuracy on task k at any evaluation while later tasks were
    learned, their ends included (min-ACC, De Lange et al. 2023). Needs `evaluate_every`."""
    earlier = range(max((task for task, _ in curve), default=0))
    return fmean(min(row[k] for t, row in curve if t > k) for k in earlier) if earlier else None


@metric(CHANGE, more_is_better=False)
def stability_gap(R: Matrix, curve: Curve) -> float | None:
    """Mean over all pairs of tasks k < t of R[t−1][k] minus the lowest accuracy on task k while
    task t is learned, its end included: how deep it falls, whether or not it recovers, so lasting
    forgetting is in it. Our number for what De Lange et al. (2023) show as curves. Needs
    `evaluate_every`."""
    drops = [
        _row(R, t - 1)[k] - min(row[k] for task, row in curve if task == t)
        for t in range(1, len(R))
        for k in range(t)
    ]
    return fmean(drops) if drops else None


@metric(ERROR, more_is_better=False)
def average_mse(M: Matrix) -> float:
    """In regression: mean over tasks k of M[T][k]."""
    return fmean(_row(M, -1))


@metric(RATIO, more_is_better=False)
def mse_growth(M: Matrix) -> float | None:
    """In regression: mean over k < T of M[T][k] / M[k][k], how many times larger the error on
    earlier tasks has become since they were learned."""
    last = _row(M, -1)
    ratios = [last[k] / _row(M, k)[k] for k in range(len(M) - 1)]
    return fmean(ratios) if ratios else None


def _row(R: Matrix, t: int) -> list[float]:
    return [a for a in R[t] if a is not None]


def _diagonal(R: Matrix) -> list[float]:
    return [_row(R, t)[-1] for t in range(len(R))]
