"""A suite: rows of published numbers, and the runs that give ours."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ConfigDict, TypeAdapter, with_config

from cl_runner.config.paths import SUITES
from cl_runner.config.traits import of_one_call
from cl_runner.errors import ConfigError, nearest
from cl_runner.jobs.job import plain_name
from cl_runner.measures import standard_error
from cl_runner.plugins import installed
from cl_runner.plugins.trusted import plugins
from cl_runner.run_folder.plain import Damaged, content, decoding
from cl_runner.run_folder.resume import stays_inside
from cl_runner.run_folder.schemas import Count, Error, Spread

MOST = 10**6
"""Bytes of a suite's file."""
COPY = "suite.yaml"
"""The copy of a user's own suite beside its runs, from which `cl-report` knows it."""
Origin = Literal["verified", "transcribed", "recalled"]
"""Where a published number was read: in the paper itself, copied by others, or from memory."""


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, kw_only=True)
class Row:
    """One number: `metric` is a path into the `results.json` of `run`, such as `accuracy[1][0]`."""

    row: str
    run: str
    metric: str
    published: Error | None = None  # in percent; None: nothing was published
    sd: Spread | None = None  # its standard deviation over seeds, as published
    sem: Spread | None = None  # or its standard error of the mean
    seeds: Count | None = None  # of the published number; else the suite's `published_seeds`
    origin: Origin = "verified"  # only such rows decide the exit code
    tolerance: Spread | None = None  # in points, both directions; None: computed from the spread
    at_least: Error | None = None  # a goal, or the end of a published range, instead
    at_most: Error | None = None
    reason: str = ""  # why this tolerance or goal
    explanation: str = ""  # if ours is outside: what an experiment has shown
    percent: bool = True  # a share, shown in percent; False for errors

    @property
    def error(self) -> float | None:
        """The standard error of the published mean; None if no spread was published."""
        return standard_error(self.sd, self.seeds) if self.sem is None else self.sem


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
    published_seeds: int | None = None  # over which the published numbers are means
    notes: str = ""  # Markdown for the suite's page
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)  # see report/drawings.py
    file: Path | None = None  # of a suite that is not ours

    @property
    def typed(self) -> str:
        """As on the command line of `cl-reproduce`."""
        return self.name if self.name in files() else shlex.quote(str(self.file))

    def with_runs(self, only: Sequence[str], skip: Sequence[str]) -> Suite:
        """The suite with some of its runs, and all rows. The patterns are those of file names:
        `EWC*`. Raises ConfigError for a pattern that no run matches."""
        for flag, patterns in (("--only", only), ("--skip", skip)):
            for pattern in patterns:
                if not any(fnmatchcase(run, pattern) for run in self.runs):
                    allowed = f"no run of {self.name} has such a name"
                    hint = nearest(pattern, list(self.runs)) or f"runs: {'; '.join(self.runs)}"
                    raise ConfigError.of(flag, pattern, allowed, hint)
        wanted = {
            run: words
            for run, words in self.runs.items()
            if any(fnmatchcase(run, pattern) for pattern in only or ["*"])
            and not any(fnmatchcase(run, pattern) for pattern in skip)
        }
        if not wanted:
            raise ConfigError.of("--skip", skip[-1], "leaves no run")
        return replace(self, runs=wanted)

    def folder_name(self, run: str, seed: int) -> str:
        return f"{plain_name(run)}-seed-{seed}"


_FORM = TypeAdapter(Suite)


def files() -> dict[str, Path]:
    """The suites that have a name: those of trusted plugins, and ours, which win."""
    theirs = [suites for plugin in reversed(plugins()) for suites in plugin.suites.items()]
    return dict(sorted({**dict(theirs), **{f.stem: f for f in SUITES.glob("*.yaml")}}.items()))


def names() -> list[str]:
    return list(files())


def read(name: str) -> Suite:
    """The suite with this name, ours or of a trusted plugin. Raises ConfigError for an unknown
    name."""
    if (file := files().get(name)) is None:
        if plugin := next((p for p in installed.every() if name in p.suites), None):
            hint = f"the plugin {plugin.name} has it: cl-train --trust {plugin.name}"
            raise ConfigError.of("NAME", name, "no such suite yet", hint)
        raise ConfigError.of("NAME", name, "no such suite", nearest(name, names()))
    suite = of_file(file, name)
    return suite if file.parent == SUITES else replace(suite, file=file)


def own(file: Path) -> Suite:
    """The user's suite in this file, named after it. Raises ConfigError as `of_file`, and for a
    name of ours: their runs would share a folder."""
    name = plain_name(file.stem)
    if name in names():
        hint = "give the file another name"
        raise ConfigError.of("NAME", file, f"there is a suite {name} already", hint)
    return replace(of_file(file, name), file=file)


def of_file(file: Path, name: str) -> Suite:
    """The suite in a YAML file. Raises ConfigError for a file that is not a suite.

    The file may come from someone else, so the settings in it refer to nothing outside: no path, no
    package to trust, no flag.
    """
    try:
        with decoding(file):
            node = yaml.safe_load(content(file, MOST))
            suite = _FORM.validate_python({**node, "name": name, "file": None})
    except Damaged as error:
        raise ConfigError.of("NAME", file, f"is not a suite: {error.reason}") from None
    rows = [replace(row, seeds=row.seeds or suite.published_seeds) for row in suite.rows]
    suite = replace(suite, rows=rows)
    for row in rows:
        if row.sd is not None and row.sem is None and row.seeds is None:
            allowed = f"does not say over how many seeds the sd of {row.row} is"
            raise ConfigError.of("NAME", file, allowed, "published_seeds: 10")
    unknown = sorted({row.run for row in suite.rows} - suite.runs.keys())
    if unknown:
        raise ConfigError.of("NAME", file, f"has rows of runs that it lacks: {', '.join(unknown)}")
    folders = {suite.folder_name(run, 0): run for run in suite.runs}
    for run in suite.runs:
        if (other := folders[suite.folder_name(run, 0)]) != run:
            allowed = f"has two runs whose folders would have one name: {run} and {other}"
            raise ConfigError.of("NAME", file, allowed, "letters, digits, . and - count")
    ours = file.parent == SUITES  # which need not wait for torch: `--list` answers at once
    for word in [*suite.common, *chain.from_iterable(suite.runs.values())]:
        if not ours and ("=" not in word or not stays_inside(word) or of_one_call(word)):
            allowed = f"has a setting that only the command line may give: {word}"
            raise ConfigError.of("NAME", file, allowed)
    return suite


def number_at(path: str, results: Mapping[str, Any]) -> float:
    """The number at this path of a `results.json`. Raises LookupError or TypeError."""
    value: Any = results
    for part in re.findall(r"[A-Za-z_]\w*|\d+", path):
        value = value[int(part) if part.isdigit() else part]
    return float(value)
