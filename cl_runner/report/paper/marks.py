"""The best of a column, and what is not significantly worse than it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from cl_runner.errors import ConfigError
from cl_runner.metrics import Metric
from cl_runner.report.compare.comparisons import differences
from cl_runner.report.compare.groups import Group, Section
from cl_runner.report.compare.significance import LEVEL, NOISE, holm, t_test
from cl_runner.report.paper.cells import Grid, is_of_method, varying
from cl_runner.report.paper.keys import Place, covers

At = tuple[Place, Place]
"""A row and a column."""


@dataclass(frozen=True)
class Mark:
    """p: of the difference to the best, after Holm's correction; None if there was no test."""

    best: bool = False
    close: bool = False  # not the best, and not significantly worse
    p: float | None = None

    def __and__(self, other: Mark) -> Mark:
        """Of a cell that is compared twice, as fine-tuning is with each size of a memory."""
        ps = [p for p in (self.p, other.p) if p is not None]
        best = self.best and other.best
        close = not best and (self.best or self.close) and (other.best or other.close)
        return Mark(best, close, min(ps, default=None))


def marks(grid: Grid, metric: Metric) -> dict[At, Mark]:
    """The marks of all cells that are compared with another. Raises ConfigError if cells on
    different data would be compared."""
    found: dict[At, Mark] = {}
    for cells in _compared(grid):
        groups = {at: group for at, group in cells.items() if group.spread(metric).n}
        if len({id(group) for group in groups.values()}) < 2:
            continue
        for at, mark in _of_one(groups, metric, _section(grid, list(groups.values()))).items():
            found[at] = found[at] & mark if at in found else mark
    return found


def within(grid: Grid) -> tuple[str, list[str]]:
    """Where cells are compared with each other: `column` or `row`, and the settings that have to be
    equal in it."""
    rows, columns = _shared(grid)
    if grid.methods_in_rows:
        return "column", [grid.row_keys[i].name for i in rows]
    return "row", [grid.column_keys[i].name for i in columns]


def _of_one(groups: Mapping[At, Group], metric: Metric, section: Section) -> dict[At, Mark]:
    """The marks of cells that are all compared with each other."""
    gains = {at: metric.gain(group.spread(metric).mean or 0) for at, group in groups.items()}
    first = max(gains, key=gains.__getitem__)
    others = [at for at in groups if groups[at] is not groups[first]]
    ps = p_values(groups[first], [groups[at] for at in others], metric, section.step)
    tested = dict(zip(others, ps, strict=True))
    made = {}
    for at in groups:
        best = gains[first] - gains[at] <= NOISE * abs(gains[first])
        p = tested.get(at)
        made[at] = Mark(best, not best and p is not None and p >= LEVEL, p)
    return made


def p_values(
    best: Group, others: Sequence[Group], metric: Metric, step: float
) -> list[float | None]:
    """Of the difference between each of the others and the best, seed by seed; None where fewer
    than two seeds are shared. The same results picked the best, and any could have been it: so
    Holm's correction counts all pairs."""
    pairs = [*((best, other) for other in others), *combinations(others, 2)]
    tests = [t_test(differences(metric, *pair), step) for pair in pairs]
    corrected = holm([float(test.p) for test in tests]).p[: len(others)]
    return [None if math.isnan(p) else float(p) for p in corrected]


def _shared(grid: Grid) -> tuple[list[int], list[int]]:
    """The keys of rows and of columns that have to be equal for a comparison, by their numbers: all
    of them across the direction of the methods; along it, those that no method chooses."""
    given = [
        [i for i, key in enumerate(keys) if across or not is_of_method(key.name)]
        for keys, across in (
            (grid.row_keys, not grid.methods_in_rows),
            (grid.column_keys, grid.methods_in_rows),
        )
    ]
    return given[0], given[1]


def _compared(grid: Grid) -> Iterator[dict[At, Group]]:
    """The cells that are compared with each other. Upper bounds are not compared."""
    rows, columns = _shared(grid)
    places: dict[Place, dict[At, Group]] = {}
    for (row, column), cell in grid.cells.items():
        if cell.group is not None and id(cell.group) not in grid.bounds:
            place = (*(row[i] for i in rows), *(column[i] for i in columns))
            places.setdefault(place, {})[row, column] = cell.group
    for place, cells in places.items():
        if None in place and any(covers(place, other) for other in places if other != place):
            continue
        joined = [more for other, more in places.items() if covers(other, place)]
        yield {at: group for more in joined for at, group in more.items()} | cells


def _section(grid: Grid, groups: list[Group]) -> Section:
    first = grid.section(groups[0])
    if any(grid.section(group) is not first for group in groups):
        differ = [key for key in varying(groups) if key.startswith("dataset")]
        allowed = f"would be compared on different data: they differ in {', '.join(differ)}"
        hint = f"add {differ[0]} to --columns, or give only the folders of the runs that you mean"
        names = ", ".join(dict.fromkeys(group.strategy for group in groups))
        raise ConfigError.of("cells", names, allowed, hint)
    return first
