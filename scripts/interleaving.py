"""Two pieces of work timed in turn, and their ratio judged."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

Ratio = tuple[float, float, float]
"""Median, lowest and highest ratio of seconds over pairs."""


def interleaved(ours: Callable[[], object], theirs: Callable[[], object], pairs: int = 21) -> Ratio:
    """The ratio of ours to theirs, over pairs that alternate in which goes first."""
    ratios = []
    for pair in range(-1, pairs):  # the first pair warms up
        order = (ours, theirs) if pair % 2 else (theirs, ours)
        seconds = {side: timed(side) for side in order}
        if pair >= 0:
            ratios.append(seconds[ours] / seconds[theirs])
    return statistics.median(ratios), min(ratios), max(ratios)


def timed(work: Callable[[], object]) -> float:
    """Seconds that the work takes; if it returns a float, the seconds that it measured itself."""
    start = time.perf_counter()
    measured = work()
    return measured if isinstance(measured, float) else time.perf_counter() - start


def verdict(title: str, bar: float, ratio: Ratio) -> bool:
    """Print one line; whether the median is at most the bar."""
    median, low, high = ratio
    word = "MISSED" if median > bar else "ok"
    print(f"{title} {median:6.3f} [{low:.3f} … {high:.3f}]  bar {bar:.2f}  {word}", flush=True)
    return median <= bar
