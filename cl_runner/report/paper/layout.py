"""A table as it is read: headings, rows in order, numbers with their spread, and a caption."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cl_runner.metrics import Metric
from cl_runner.report.compare.groups import Group
from cl_runner.report.compare.significance import Spread
from cl_runner.report.paper.caption import Caption
from cl_runner.report.paper.cells import Grid
from cl_runner.report.paper.keys import Place
from cl_runner.report.paper.marks import Mark, marks
from cl_runner.report.paper.names import Labels

DASH = "–"


@dataclass(frozen=True)
class Entry:
    """A number with its spread, as text. Neighbours that are equal show the same runs."""

    mean: str
    spread: str  # with its ±; empty if there is none
    mark: Mark
    group: int | None  # the id of the group of runs
    metric: str

    @property
    def text(self) -> str:
        return f"{self.mean}{self.spread}"


@dataclass(frozen=True)
class Line:
    """A row. gap: what separates it from the one before, `rule`, `space` or nothing."""

    stubs: list[str]
    entries: list[Entry]
    gap: str = ""


@dataclass(frozen=True)
class Layout:
    """stubs: headings of the keys of the rows. levels: of the columns, from top to bottom."""

    stubs: list[str]
    levels: list[list[str]]
    lines: list[Line]
    caption: Caption
    name: str


def layout(grid: Grid, metrics: Sequence[Metric], labels: Labels, error: str, name: str) -> Layout:
    """error: `sd` or `sem`, what follows the ±."""
    marked = {metric.name: marks(grid, metric) for metric in metrics}
    digits = {metric.name: _digits(grid.shown, metric, metrics, error) for metric in metrics}
    columns = [(place, metric) for place in grid.columns for metric in metrics]
    lines: list[Line] = []
    last: tuple[bool, Place] | None = None
    for row in sorted(grid.rows, key=lambda row: _is_bound(grid, row)):
        entries = []
        for place, metric in columns:
            group = grid.group(row, place)
            spread = group.spread(metric) if group else Spread(None, None, None, None, 0)
            text = number(spread, metric, digits[metric.name], error)
            mark = marked[metric.name].get((row, place), Mark())
            entries.append(Entry(*text, mark, id(group) if group else None, metric.name))
        here = _is_bound(grid, row), row[:-1]
        gap = "" if last is None or last == here else "rule" if last[0] != here[0] else "space"
        stubs = [labels.value(k.name, value) for k, value in zip(grid.row_keys, row, strict=True)]
        lines.append(Line(stubs, entries, gap))
        last = here
    levels = [
        [labels.both(key.name, place[i]) for place, _ in columns]
        for i, key in enumerate(grid.column_keys)
        if not grid.is_constant(i)
    ]
    if len(metrics) > 1 or not levels:
        levels.append([labels.heading(metric.name) for _, metric in columns])
    stubs = [labels.key(key.name) for key in grid.row_keys]
    empty = any(entry.text == DASH for line in lines for entry in line.entries)
    return Layout(stubs, levels, lines, Caption(grid, metrics, labels, error, marked, empty), name)


def number(spread: Spread, metric: Metric, digits: str, error: str) -> tuple[str, str]:
    """`91.3` and ` ± 0.4`. One seed has no ±; a dash without any."""
    if spread.mean is None:
        return DASH, ""
    factor, of = metric.unit.factor, error_of(spread, error)
    if metric.unit.logarithmic:
        digits = _three_digits(factor * spread.mean)
    mean = re.sub("^-", "−", f"{factor * spread.mean:{digits}}")
    return mean, "" if of is None else f" ± {factor * of:{digits}}"


def _three_digits(value: float) -> str:
    """The format that shows three digits of an error, for it and its spread."""
    if value and not 1e-4 <= abs(value) < 1e6:
        return ".2e"
    return f".{max(0, 2 - math.floor(math.log10(abs(value or 1))))}f"


def error_of(spread: Spread, error: str) -> float | None:
    """The standard deviation, or the standard error of the mean. None for fewer than two seeds."""
    if spread.deviation is None:
        return None
    return spread.deviation / math.sqrt(spread.n) if error == "sem" else spread.deviation


def _digits(groups: Sequence[Group], metric: Metric, metrics: Sequence[Metric], error: str) -> str:
    """The format of a metric's numbers. Shares have one decimal in the whole table, or two if a
    spread would be 0.0. An error's depends on its size."""
    digits = metric.unit.digits
    shares = [one for one in metrics if not one.unit.logarithmic]
    errors = [error_of(group.spread(one), error) for group in groups for one in shares]
    shown = [metric.unit.factor * one for one in errors if one]
    return ".2f" if any(float(f"{one:{digits}}") == 0 for one in shown) else digits


def _is_bound(grid: Grid, row: Place) -> bool:
    """Whether a row shows nothing but an upper bound."""
    groups = [group for column in grid.columns if (group := grid.group(row, column))]
    return bool(groups) and all(id(group) in grid.bounds for group in groups)
