"""What is measured on a task, and the units of a run's numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

FEW = 10
"""The most tasks whose values are all shown on a terminal."""


@dataclass(frozen=True)
class Unit:
    """How numbers of one kind are written, drawn and bounded."""

    name: str
    sign: str  # follows a number, and in a label the word "in"
    factor: float  # from the number to what is shown
    digits: str  # the format of what is shown
    limit: float  # a number of a larger absolute value is damage
    lowest: float  # a number cannot be below it, so no interval is
    highest: float
    logarithmic: bool  # is drawn on a logarithmic axis, and compared by ratios

    def text(self, value: float | None, plus: str = "") -> str:
        """The number as shown; a dash for None. plus: "+" shows the sign of positive numbers."""
        return "–" if value is None else f"{self.factor * value:{plus}{self.digits}}"


# A difference of accuracies may exceed 1 by rounding. The square of an error must be finite too.
SHARE = Unit("%", "%", 100, ".1f", limit=2, lowest=0, highest=1, logarithmic=False)
CHANGE = replace(SHARE, lowest=-1)  # of a share
ERROR = Unit("squared error", "", 1, ".3g", 1e80, lowest=0, highest=math.inf, logarithmic=True)
RATIO = replace(ERROR, name="times")


def standard_error(deviation: float | None, n: int | None) -> float | None:
    """Of a mean of n numbers with this standard deviation; None if either is not known."""
    return deviation / math.sqrt(n) if deviation is not None and n else None


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A number with a unit and a direction."""

    name: str
    title: str
    unit: Unit
    more_is_better: bool

    @property
    def label(self) -> str:
        """For an axis or a heading: `average accuracy in %`."""
        return f"{self.title} in {self.unit.sign}" if self.unit.sign else self.title

    def sentence(self, value: float | None) -> str:
        """Name and number: `average accuracy 91.0 %`."""
        return f"{self.title} {self.unit.text(value)} {self.unit.sign}".rstrip()

    def gain(self, value: float) -> float:
        """The value, negated if less is better. Applied twice it is the value again."""
        return value if self.more_is_better else -value


@dataclass(frozen=True, kw_only=True)
class Measure(Quantity):
    """What is measured on each task; a matrix in `results.json` has its name."""

    symbol: str  # of the matrix, in the definitions of metrics
    logged: str  # its key in `metrics.jsonl`; in `results.json` before `_curve`, `_validation`
    headline: tuple[str, ...]  # the metrics to show first; the first one ranks strategies
    has_fits: bool  # whether `predictions.npz` holds functions that can be drawn


_ACCURACY = Measure(
    name="accuracy",
    title="accuracy",
    unit=SHARE,
    more_is_better=True,
    symbol="R",
    logged="accuracy",
    headline=("average_accuracy", "forgetting", "backward_transfer"),
    has_fits=False,
)
_MSE = Measure(
    name="mse",
    title="mean squared error",
    unit=ERROR,
    more_is_better=False,
    symbol="M",
    logged="mse",
    headline=("average_mse", "mse_growth"),
    has_fits=True,
)
MEASURES = {
    measure.name: measure
    for measure in (_ACCURACY, replace(_ACCURACY, name="accuracy_task_il"), _MSE)
}
"""By name."""
