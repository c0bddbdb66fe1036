"""What a suite's page is made of: the numbers of each complete run, kept in a file beside the page.

So a suite can be run in pieces, on several days and machines, and everyone can compute its means
again from the numbers of single seeds.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from cl_runner.jobs.job import digest_of
from cl_runner.reproduce.suite import Suite, number_at
from cl_runner.run_folder.outcome import Results
from cl_runner.run_folder.plain import Missing, content, decoding
from cl_runner.run_folder.schemas import Count, Error, Seconds
from cl_runner.text import counted

HEADER = ["run", "seed", "settings", "metric", "value", "seconds", "environment"]
Line = tuple[str, Count, str, str, Error, Seconds, str]
_LINE = TypeAdapter(Line)
MOST = 10**7
"""Bytes of such a file."""


@dataclass(frozen=True)
class Measured:
    """What is kept of a run. numbers: by the paths of the suite's rows, as in `results.json`; those
    that the run has. settings: a digest of those that the suite and the command line give; the
    defaults of other settings are not in it."""

    numbers: Mapping[str, float]
    settings: str
    seconds: float
    environment: str


Numbers = Mapping[tuple[str, int], Measured | None]
"""By a run's name and its seed; None: it failed."""


def measured(
    suite: Suite, changes: Sequence[str], results: Mapping[tuple[str, int], Results | None]
) -> Numbers:
    """Of these results. changes: settings that the command line gave to all runs."""
    return {
        (run, seed): None
        if result is None
        else Measured(
            numbers_of(suite, run, result.document()),
            _settings(suite, changes, run),
            result.cost.seconds,
            _environment(result),
        )
        for (run, seed), result in results.items()
    }


def numbers_of(suite: Suite, run: str, document: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of this run's rows; a row that the document lacks has none."""
    found = {}
    for metric in _metrics(suite, run):
        with suppress(LookupError, TypeError):
            found[metric] = number_at(metric, document)
    return found


def _metrics(suite: Suite, run: str) -> list[str]:
    return list(dict.fromkeys(row.metric for row in suite.rows if row.run == run))


def _settings(suite: Suite, changes: Sequence[str], run: str) -> str:
    return digest_of([*suite.common, *suite.runs[run], *changes])


def _environment(result: Results) -> str:
    its = result.environment
    versions = ", ".join(f"{name} {version}" for name, version in its.versions.items())
    return f"{versions}; {its.device}, {counted(its.threads, 'thread')} per run"


def together(suite: Suite, earlier: Numbers, now: Numbers) -> Numbers:
    """All of them in the suite's order. A run that was run again is the new one, unless it failed
    now."""
    new = {key: one for key, one in now.items() if one is not None or key not in earlier}
    every, order = {**earlier, **new}, list(suite.runs)
    return {key: every[key] for key in sorted(every, key=lambda key: (order.index(key[0]), key[1]))}


def read(file: Path) -> dict[tuple[str, int], Measured]:
    """The runs in a file; none if there is no such file. Raises Damaged for what `text` would not
    have given."""
    found: dict[tuple[str, int], Measured] = {}
    with suppress(Missing), decoding(file):
        for run, seed, settings, metric, value, seconds, environment in _lines(file):
            numbers = {**found[run, seed].numbers} if (run, seed) in found else {}
            numbers[metric] = value
            found[run, seed] = Measured(numbers, settings, seconds, environment)
    return found


def of_today(
    suite: Suite, changes: Sequence[str], kept: Mapping[tuple[str, int], Measured]
) -> dict[tuple[str, int], Measured]:
    """Of these runs those that the suite has today: with its settings, its seeds, and all numbers
    of its rows. changes: as for `measured`."""
    return {
        (run, seed): one
        for (run, seed), one in kept.items()
        if run in suite.runs
        and seed in suite.seeds
        and one.settings == _settings(suite, changes, run)
        and one.numbers.keys() == set(_metrics(suite, run))
    }


def _lines(file: Path) -> Iterable[Line]:
    lines = csv.reader(io.StringIO(content(file, MOST).decode()), strict=True)
    if next(lines, None) != HEADER:
        raise ValueError(f"its first line is not {','.join(HEADER)}")
    return map(_LINE.validate_python, lines)


def text(runs: Numbers) -> str:
    """A line for each number of each complete run."""
    written = io.StringIO()
    lines = csv.writer(written, lineterminator="\n")
    lines.writerow(HEADER)
    for (run, seed), one in runs.items():
        if one is not None:
            after = [round(one.seconds, 1), one.environment]
            for metric, value in one.numbers.items():
                lines.writerow([run, seed, one.settings, metric, value, *after])
    return written.getvalue()
