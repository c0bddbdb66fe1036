"""A suite: rows of published numbers, and the runs that give ours."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ConfigDict, TypeAdapter, with_config

from cl_runner.config.overrides import is_for_sweeps, key_of
from cl_runner.errors import ConfigError, nearest
from cl_runner.jobs.job import plain_name
from cl_runner.run_folder.plain import Damaged, content, decoding
from cl_runner.run_folder.read import MB

SUITES = Path(__file__).parent / "suites"
COPY = "suite.yaml"
"""A suite of the user's, in the folder of its runs."""


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, kw_only=True)
class Row:
    """One number: `metric` is a path into the `results.json` of `run`, such as `accuracy[1][0]`."""

    row: str
    run: str
    metric: str
    published: float | None = None  # in percent; None: nothing was published
    tolerance: float | None = None  # in percentage points, in both directions
    at_least: float | None = None  # a goal, or the end of a published range, instead
    at_most: float | None = None
    reason: str = ""  # why this tolerance or goal
    percent: bool = True  # a share, shown in percent; False for errors


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, kw_only=True)
class Suite:
    """What `cl-reproduce` runs and judges: every run with every seed."""

    name: str
    title: str
    source: str
    minutes: int  # on two cores
    seeds: list[int]
    common: list[str]  # settings of all runs, as on the command line
    runs: dict[str, list[str]]  # the further settings of each run
    rows: list[Row]
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)  # see report/drawings.py
    file: Path | None = None  # None: one of ours

    @property
    def typed(self) -> str:
        """As on the command line of `cl-reproduce`."""
        return self.name if self.file is None else shlex.quote(str(self.file))

    def folder_name(self, run: str, seed: int) -> str:
        return f"{plain_name(run)}-seed-{seed}"


_SUITE = TypeAdapter(Suite)
LIKE = "cl_runner/reproduce/suites has examples"


def names() -> list[str]:
    return sorted(file.stem for file in SUITES.glob("*.yaml"))


def read(name: str) -> Suite:
    """Our suite with this name, or the one in a YAML file of the user's. Raises ConfigError for an
    unknown name and for a file that is no suite."""
    if Path(name).suffix in (".yaml", ".yml"):
        return of_file(Path(name))
    if name not in names():
        hint = nearest(name, names()) or "a file of your own ends in .yaml"
        raise ConfigError.of("NAME", name, "no such suite", hint)
    node: dict[str, Any] = yaml.safe_load((SUITES / f"{name}.yaml").read_text("utf-8"))
    return _SUITE.validate_python({**node, "name": name})


def of_file(file: Path) -> Suite:
    """The suite in a file that may come from someone else. Raises ConfigError unless its values are
    valid, each row is about one of its runs, and no run is given what only the user may give."""
    try:
        with decoding(file):
            node = yaml.safe_load(content(file, MB).decode())
            suite = _SUITE.validate_python({**node, "name": plain_name(file.stem), "file": file})
    except Damaged as damaged:
        raise ConfigError.of("NAME", file, f"is no suite: {damaged.reason}", LIKE) from None
    for row in suite.rows:
        if row.run not in suite.runs:
            allowed = f"has a row about {row.run}, which is none of its runs"
            raise ConfigError.of("NAME", file, allowed, nearest(row.run, list(suite.runs)))
    for word in (*suite.common, *(word for words in suite.runs.values() for word in words)):
        if is_for_sweeps(word) or key_of(word) == "trusted_targets" or word.startswith("-"):
            allowed = f"may not give {key_of(word)} to its runs"
            raise ConfigError.of("NAME", file, allowed, "give it on the command line")
    return suite


def number_at(path: str, results: Mapping[str, Any]) -> float:
    """The number at this path of a `results.json`. Raises LookupError or TypeError."""
    value: Any = results
    for part in re.findall(r"[A-Za-z_]+|\d+", path):
        value = value[int(part) if part.isdigit() else part]
    return float(value)
