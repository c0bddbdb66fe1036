"""What is measured on a task, and the units of all numbers of a run."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Unit:
    """How numbers of one kind are written, drawn and bounded."""

    name: str
    sign: str  # stands behind the number, in a label behind "in"
    factor: float  # from a number to what is shown of it
    digits: str  # the format of what is shown
    limit: float  # a larger number, or a smaller one than its negative, is damage
    logarithmic: bool  # spans orders of magnitude and is drawn so

    def text(self, value: float | None, plus: str = "") -> str:
        """The number as it is shown; a dash for None. plus: "+" shows the sign of any number."""
        return "–" if value is None else f"{self.factor * value:{plus}{self.digits}}"


# A difference of accuracies may exceed 1 by rounding; the square of an error must be finite, too.
SHARE = Unit("%", "%", 100, ".1f", limit=2, logarithmic=False)
ERROR = Unit("squared error", "", 1, ".3g", limit=1e80, logarithmic=True)
RATIO = Unit("times", "", 1, ".3g", limit=1e80, logarithmic=True)


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
        """The value such that more is better. Applied twice it gives the value back."""
        return value if self.more_is_better else -value


@dataclass(frozen=True, kw_only=True)
class Measure(Quantity):
    """What is measured on each task; its name is that of a matrix in `results.json`."""

    symbol: str  # of the matrix, in the definitions of metrics
    logged: str  # its key in `metrics.jsonl`, and in `results.json` before `_curve`, `_validation`
    headline: tuple[str, ...]  # the metrics to show first; the very first ranks strategies
    has_fits: bool  # whether `predictions.npz` holds real functions, which can be drawn


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
