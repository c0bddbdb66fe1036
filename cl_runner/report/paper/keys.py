"""The keys of a table's rows and columns: settings, and the value that each group of runs has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cl_runner.errors import ConfigError, nearest
from cl_runner.report.compare.groups import PARTS, Group
from cl_runner.report.compare.values import shown

STRATEGY, DATASET, SCENARIO = "strategy", "dataset", "dataset.scenario"
BUFFER_SIZE = "strategy.buffer_size"
RUN = "run"
"""The name that a suite gives to runs that differ only in their seed."""
BY_NAME = (DATASET, *PARTS)
"""What a run chooses by name."""
NAMED = (*BY_NAME, SCENARIO, RUN)
"""Settings whose values speak for themselves."""
Place = tuple[str | None, ...]
"""A value for each key of the rows or of the columns. None: the runs do not have that setting."""


@dataclass(frozen=True)
class Key:
    """A setting; `only`: its values, in this order. None: all values."""

    name: str
    only: tuple[str, ...] | None = None


def parsed(flag: str, words: Sequence[str] | None) -> list[Key] | None:
    """Each word is `KEY`, `KEY,KEY,...` or `KEY=VALUE,VALUE,...`. Raises ConfigError."""
    if words is None:
        return None
    keys = []
    for word in words:
        name, equals, values = word.partition("=")
        if equals:
            keys.append(Key(name.strip(), tuple(value.strip() for value in values.split(","))))
        else:
            keys += [Key(name.strip()) for name in word.split(",")]
    for key in keys:
        if key.name == "seed":
            raise ConfigError.of(flag, "seed", "is what a table averages over")
        if not key.name or (key.only and not all(key.only)):
            raise ConfigError.of(flag, ",".join(words), "must be KEY, KEY,KEY or KEY=VALUE,VALUE")
    return keys


def check(flag: str, keys: Sequence[Key], groups: Sequence[Group]) -> None:
    """Raise ConfigError for a setting or a value that no run has."""
    known = {name for group in groups for name in group.settings if "_target_" not in name}
    known |= {SCENARIO, *BY_NAME} | {RUN for group in groups if group.name}
    for key in keys:
        if key.name not in known:
            hint = nearest(key.name, sorted(known))
            raise ConfigError.of(flag, key.name, "is a setting that no run has", hint)
        values = values_of(groups, key.name)
        if not values:
            raise ConfigError.of(flag, key.name, "is not known of any run")
        for value in key.only or ():
            if not any(alike(value, one) for one in values):
                hint = f"there are {', '.join(in_size(values))}"
                if value in known:
                    hint = f"for another setting repeat {flag}"
                raise ConfigError.of(flag, f"{key.name}={value}", "is a value of no run", hint)


def value_of(group: Group, key: str) -> str | None:
    """The group's value of a setting, as it is typed; None if it has no such setting."""
    if key in BY_NAME:
        best_known = sorted(group.runs, key=lambda run: not run.complete)
        return next((name for run in best_known if (name := run.option(key))), None)
    if key == RUN:
        return group.name
    if key == SCENARIO and group.complete:  # also of streams that are of one scenario by nature
        return str(group.complete[0].results.conventions["scenario"])
    settings = group.settings or group.runs[0].varied
    return shown(settings[key]) if key in settings else None


def place_of(group: Group, keys: Sequence[Key]) -> Place:
    return tuple(value_of(group, key.name) for key in keys)


def values_of(groups: Iterable[Group], key: str) -> list[str]:
    """All values of a setting among the groups that have it."""
    values = (value_of(group, key) for group in groups)
    return list(dict.fromkeys(value for value in values if value is not None))


def in_size(values: Iterable[str]) -> list[str]:
    """Numbers by size, then texts."""
    return sorted(values, key=lambda v: (_number(v) is None, _number(v) or 0, v))


def asked(group: Group, keys: Sequence[Key]) -> bool:
    """Whether its values are among those that the keys name. A setting that it lacks is no
    reason to leave it out."""
    values = [(key.only, value_of(group, key.name)) for key in keys]
    return all(
        only is None or value is None or any(alike(value, one) for one in only)
        for only, value in values
    )


def covers(place: Place, column: Place) -> bool:
    """Whether runs that lack a setting of the columns stand in this one, as in all of its values:
    fine-tuning has no memory, whatever the size."""
    return all(mine is None or mine == its for mine, its in zip(place, column, strict=True))


def ordered(places: Iterable[Place], keys: Sequence[Key], names: Sequence[str]) -> list[Place]:
    """By the order of the values that a key names, else of known names, else by size, else as the
    runs come. What lacks a setting comes first."""
    every = list(dict.fromkeys(places))

    def rank(place: Place) -> list[tuple[int, float, int]]:
        return [
            _rank(value, key, i) for i, (value, key) in enumerate(zip(place, keys, strict=True))
        ]

    def _rank(value: str | None, key: Key, level: int) -> tuple[int, float, int]:
        if value is None:
            return (-1, 0.0, 0)
        if key.only is not None:
            return (0, next(n for n, one in enumerate(key.only) if alike(one, value)), 0)
        if value in names:
            return (1, names.index(value), 0)
        if (number := _number(value)) is not None:
            return (2, number, 0)
        return (3, 0.0, list(dict.fromkeys(p[level] for p in every)).index(value))

    return sorted(every, key=rank)


def alike(one: str, other: str) -> bool:
    """Whether both texts are the same value: 1e1 and 10 are."""
    number = _number(one)
    return one == other or (number is not None and number == _number(other))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
