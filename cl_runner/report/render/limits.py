"""What part of an axis a figure shows, so that neither noise nor what cannot be fills it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite

import numpy as np
from matplotlib.axes import Axes

LEAST = 5.0
"""Points of accuracy. A smaller range would show noise as if it were a difference."""


def percent_limits(
    values: Iterable[float], lowest: float = 0.0, highest: float = 100.0
) -> tuple[float, float]:
    """The ends of an axis that shows these values in percent, with a little room: at least 5 points
    apart, and within lowest and highest, which are the ends of what is possible."""
    shown = [value for value in values if isfinite(value)] or [lowest, highest]
    low, high = min(shown), max(shown)
    room = max(0.05 * (high - low), (LEAST - (high - low)) / 2)
    low, high = low - room, high + room
    if low < lowest:
        low, high = lowest, max(high, lowest + LEAST)
    if high > highest:
        low, high = max(lowest, min(low, highest - LEAST)), highest
    return low, high


def limit_percent(
    panels: Sequence[Axes], axis: str = "y", lowest: float = 0.0, highest: float = 100.0
) -> None:
    """Give all these panels the limits of what is drawn in them, along `x` or `y`."""
    ends = [end for axes in panels for end in getattr(axes.dataLim, f"interval{axis}")]
    for axes in panels:
        axes.set(**{f"{axis}lim": percent_limits(ends, lowest, highest)})
        for line in axes.lines:
            line.set_clip_on(
                len(np.asarray(line.get_xdata())) == 0
            )  # a marker at 0 or 100 is whole
