"""Differences of a metric as people say them: in points, or as the ratio of two errors.

A difference of shares is one of their values. A difference of errors is the logarithm of their
ratio.
"""

from __future__ import annotations

import math

from cl_runner.measures import Unit


def reach(margin: float, unit: Unit) -> float:
    """The difference that a margin stands for: of so many points, or percent of an error."""
    return math.log1p(margin / 100) if unit.logarithmic else margin / 100


def margin_text(margin: float, unit: Unit) -> str:
    """`1 point`, `2 points`, `5 %`."""
    return f"{margin:g} {'%' if unit.logarithmic else 'point' if margin == 1 else 'points'}"


def amount(difference: float | None, unit: Unit) -> str:
    """`2.5 points`, or `0.31 times the error`."""
    words = "times the error" if unit.logarithmic else "points"
    return f"{number(difference, unit)} {words}"


def number(difference: float | None, unit: Unit, plus: str = "") -> str:
    """The number alone; a dash for None. plus: "+" shows the sign of positive differences."""
    if difference is None or not unit.logarithmic:
        return unit.text(difference, plus)
    return unit.text(_ratio(difference))


def end(difference: float | None, unit: Unit) -> str:
    """The same with as many digits as it takes to see that there is a difference."""
    text = number(difference, unit)
    none = number(0.0, unit)
    if difference and text.lstrip("-") == none:
        shown = _ratio(difference) - 1 if unit.logarithmic else unit.factor * difference
        digits = min(9, -math.floor(math.log10(abs(shown)))) if shown else 0
        return f"{_ratio(difference) if unit.logarithmic else shown:.{digits}f}"
    return text


def _ratio(difference: float) -> float:
    return math.exp(min(difference, 700.0))  # beyond that it is no number
