"""A suite: rows of published numbers, and the runs in which ours are found."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cl_runner.errors import ConfigError

SUITES = Path(__file__).parent / "suites"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One number: `metric` is a path into the `results.json` of `run`, such as `accuracy[1][0]`."""

    row: str
    run: str
    metric: str
    published: float | None = None  # in percent; None: a number of ours, with none to compare
    tolerance: float | None = None  # in percentage points, either way
    at_least: float | None = None  # a goal, or a published range, instead
    at_most: float | None = None
    reason: str = ""  # of the tolerance or the goal
    percent: bool = True  # whether it is a share, shown in percent; an error is not


@dataclass(frozen=True, kw_only=True)
class Suite:
    """What `cl-reproduce` runs and judges: every run with every seed."""

    name: str
    title: str
    source: str
    minutes: int  # on two cores
    seeds: list[int]
    common: list[str]  # settings of all runs, as on the command line
    runs: dict[str, list[str]]  # what each run has beside them
    rows: list[Row]
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)  # see report/drawings.py

    def folder_name(self, run: str, seed: int) -> str:
        return f"{re.sub(r'[^A-Za-z0-9.-]+', '_', run)}-seed-{seed}"


def names() -> list[str]:
    return sorted(file.stem for file in SUITES.glob("*.yaml"))


def read(name: str) -> Suite:
    """The suite of this name. Raises ConfigError for one that is not there."""
    if name not in names():
        from cl_runner.errors import nearest

        raise ConfigError.of("NAME", name, "no such suite", nearest(name, names()))
    node: dict[str, Any] = yaml.safe_load((SUITES / f"{name}.yaml").read_text("utf-8"))
    rows = [Row(**row) for row in node.pop("rows")]
    return Suite(name=name, rows=rows, **node)


def number_at(path: str, results: Mapping[str, Any]) -> float:
    """The number at this path of a `results.json`. Raises LookupError or TypeError."""
    value: Any = results
    for part in re.findall(r"[A-Za-z_]+|\d+", path):
        value = value[int(part) if part.isdigit() else part]
    return float(value)
