"""The cells of a table: which runs stand in which row and column, never two settings in one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from cl_runner.errors import ConfigError
from cl_runner.report.compare.groups import Group, Section, ranked
from cl_runner.report.paper.keys import (
    BUFFER_SIZE,
    DATASET,
    RUN,
    SCENARIO,
    STRATEGY,
    Key,
    Place,
    asked,
    check,
    covers,
    in_size,
    ordered,
    parsed,
    place_of,
    value_of,
    values_of,
)
from cl_runner.report.paper.names import ORDER, Labels


@dataclass
class Cell:
    """What stands in a row and a column: a setting, and what else was there."""

    candidates: list[Group] = field(default_factory=list)
    group: Group | None = None  # with at least one complete run

    @property
    def unfinished(self) -> int:
        return sum(len(group.unfinished) for group in self.candidates)


@dataclass(frozen=True)
class Grid:
    """Rows and columns, and the cells where there are runs."""

    row_keys: list[Key]
    column_keys: list[Key]
    rows: list[Place]
    columns: list[Place]
    cells: dict[tuple[Place, Place], Cell]
    chosen: list[tuple[str, str, str]]  # strategy, setting and the value chosen on validation data
    sections: dict[int, Section]  # of each group, by its id

    @cached_property
    def keys(self) -> set[str]:
        """The names of the keys of rows and columns."""
        return {key.name for key in (*self.row_keys, *self.column_keys)}

    @cached_property
    def shown(self) -> list[Group]:
        """Every group that stands in a cell, in the order of the rows."""
        places = [(row, column) for row in self.rows for column in self.columns]
        groups = [group for place in places if (group := self.group(*place))]
        found = {id(group): group for group in groups}
        return list(found.values())

    @cached_property
    def bounds(self) -> set[int]:
        """The ids of groups that are upper bounds and not compared."""
        return {id(g) for g in self.shown} - {id(g) for g in ranked(self.shown)}

    @property
    def methods_in_rows(self) -> bool:
        return not any(key.name == STRATEGY for key in self.column_keys)

    def is_constant(self, level: int) -> bool:
        """Whether all columns have the same value of a key: that is for the caption."""
        return len({column[level] for column in self.columns}) == 1

    def group(self, row: Place, column: Place) -> Group | None:
        cell = self.cells.get((row, column))
        return cell.group if cell else None

    def section(self, group: Group) -> Section:
        return self.sections[id(group)]


def grid(
    sections: Sequence[Section],
    rows: Sequence[str] | None,
    columns: Sequence[str] | None,
    labels: Labels,
    runs: Sequence[str] = (),
) -> Grid:
    """runs: the names of the runs of a suite. If it has one stream of tasks, each has a row. Raises
    ConfigError if a setting is not known, or if a cell holds several settings and no validation
    data to choose on."""
    row_keys, column_keys = parsed("--rows", rows), parsed("--columns", columns)
    groups = [group for section in sections for group in section.groups if _is_known(group)]
    check("--rows", row_keys or (), groups)
    check("--columns", column_keys or (), groups)
    keys = [*(row_keys or ()), *(column_keys or ())]
    twice = [key.name for key in keys if [one.name for one in keys].count(key.name) > 1]
    if twice:
        raise ConfigError.of("--columns", twice[0], "is given twice")
    groups = [group for group in groups if asked(group, keys)]
    of_group = {id(group): section for section in sections for group in section.groups}
    if row_keys is None and STRATEGY in {key.name for key in keys}:
        row_keys = _what_varies(groups, keys) or [Key(DATASET)]
    row_keys = row_keys or [_method(sections, groups, runs)]
    if column_keys is None:
        column_keys = _what_varies(groups, row_keys)
    made = _filled(groups, row_keys, column_keys, of_group)
    _choose(made, labels)
    return made


def _method(sections: Sequence[Section], groups: Sequence[Group], runs: Sequence[str]) -> Key:
    """What tells methods apart: strategies, or what a suite calls its runs."""
    names = {group.name for group in groups if group.complete}
    if len(sections) > 1 or None in names or not runs:
        return Key(STRATEGY)
    return Key(RUN, tuple(name for name in runs if name in names))


def is_tuned(key: str) -> bool:
    """Whether a method may choose it. Data, network and the size of the memory are given."""
    part, _, own = key.partition(".")
    return part in ("strategy", "optimizer") and bool(own) and key != BUFFER_SIZE


def is_of_method(key: str) -> bool:
    """Whether methods that are compared may differ in it."""
    return key in (STRATEGY, RUN) or is_tuned(key)


def varying(groups: Iterable[Group]) -> list[str]:
    """The settings that differ between groups, those chosen by name first."""
    groups = list(groups)
    keys = dict.fromkeys((DATASET, SCENARIO, STRATEGY, "model", "optimizer"))
    keys |= dict.fromkeys(key for g in groups for key in g.settings if "_target_" not in key)
    return [key for key in keys if len({value_of(group, key) for group in groups}) > 1]


def _is_known(group: Group) -> bool:
    """A run that failed before its settings were written has no place."""
    return bool(group.settings)


def _what_varies(groups: list[Group], other: list[Key]) -> list[Key]:
    """The fewest settings that leave one stream of tasks in each place and one setting in each
    cell. What a method may choose is added only if it is a single setting and nothing was held out
    to choose on."""
    measured = [group for group in groups if group.complete]
    taken = {STRATEGY, RUN, *(key.name for key in other)}
    names = [name for name in varying(groups) if name not in taken]
    data = [name for name in names if name.partition(".")[0] == DATASET]
    of_place = [key for key in other if not is_of_method(key.name)]
    keys = _telling_apart(groups, data, of_place, [])
    given = [name for name in names if name not in data and not is_tuned(name)]
    keys = _telling_apart(measured, given, other, keys)
    if any(group.validation.n for group in measured):
        return keys
    with_tuned = _telling_apart(measured, [name for name in names if is_tuned(name)], other, keys)
    return with_tuned if len(with_tuned) == len(keys) + 1 else keys


def _telling_apart(
    groups: list[Group], names: list[str], other: list[Key], keys: list[Key]
) -> list[Key]:
    """The keys, and those of the names that tell apart groups with the same place."""
    for name in names:
        together: dict[Place, list[Group]] = {}
        for group in groups:
            together.setdefault(place_of(group, [*other, *keys]), []).append(group)
        if any(len(values_of(alike, name)) > 1 for alike in together.values()):
            keys = [*keys, Key(name)]
    return keys


def _filled(
    groups: list[Group], row_keys: list[Key], column_keys: list[Key], of: dict[int, Section]
) -> Grid:
    rows = [place_of(group, row_keys) for group in groups]
    columns = [place_of(group, column_keys) for group in groups]
    made = Grid(
        row_keys, column_keys, _places(rows, row_keys), _places(columns, column_keys), {}, [], of
    )
    for group, mine, its in zip(groups, rows, columns, strict=True):
        for row in [row for row in made.rows if covers(mine, row)]:
            for column in [column for column in made.columns if covers(its, column)]:
                made.cells.setdefault((row, column), Cell()).candidates.append(group)
    return made


def _places(places: list[Place], keys: list[Key]) -> list[Place]:
    """The rows or columns, in order. Runs that lack a setting have no place of their own if they
    can stand in those of others."""
    whole = [place for place in places if None not in place]
    alone = [p for p in places if None in p and not any(covers(p, other) for other in whole)]
    return ordered([*whole, *alone], keys, ORDER)


def _choose(made: Grid, labels: Labels) -> None:
    """Set the group of each cell."""
    for (row, column), cell in made.cells.items():
        measured = [group for group in cell.candidates if group.complete]
        if len(measured) == 1:
            cell.group = measured[0]
        elif measured:
            differ = varying(measured)
            section = made.section(measured[0])
            can = all(map(is_tuned, differ)) and differ
            cell.group = section.chosen(measured) if can else None
            if cell.group is None:
                raise _several(made, row, column, measured, labels)
            for key in differ:
                value = value_of(cell.group, key)
                made.chosen.append((cell.group.strategy, key, "–" if value is None else value))


def _several(
    made: Grid, row: Place, column: Place, groups: list[Group], labels: Labels
) -> ConfigError:
    """The complaint about a cell with several settings."""
    keys = [*made.row_keys, *made.column_keys]
    values = zip(keys, (*row, *column), strict=True)
    cell = ", ".join(labels.both(key.name, value) for key, value in values)
    differ = varying(groups)
    key = differ[0] if differ else "device"
    one = value_of(groups[0], key)
    listed = [f"{k} ({', '.join(in_size(values_of(groups, k)))})" for k in differ]
    hints = [f"add {key} to --rows or --columns", f"take one with --columns {key}={one}"]
    if all(map(is_tuned, differ)):
        hints.append("hold out data (dataset.validation_fraction=0.1), on which a table chooses")
    hints.append("or give only the folders of the runs that you mean")
    allowed = f"has {len(groups)} settings, and a cell never averages them: {'; '.join(listed)}"
    return ConfigError.of("cell", cell, allowed, ", ".join(hints))
