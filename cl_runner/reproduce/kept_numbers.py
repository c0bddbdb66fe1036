"""What a suite's page is made of: the numbers of each complete run, kept in a file beside the page.

So a suite can be run in pieces, on several days and machines, and everyone can compute its means
again from the numbers of single seeds.
"""

from __future__ import annotations

import csv
import io
import shlex
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

HEADER = ["run", "seed", "settings", "changes", "metric", "value", "seconds", "environment"]
Line = tuple[str, Count, str, str, str, Error, Seconds, str]
_LINE = TypeAdapter(Line)
MOST = 10**7
"""Bytes of such a file."""


@dataclass(frozen=True)
class Measured:
    """What is kept of a run. numbers: by the paths of the suite's rows, as in `results.json`; those
    that the run has. settings: a digest of those that the suite gives; the defaults of others are
    not in it. changes: those that the command line gave to all runs, as `changes_of` has them."""

    numbers: Mapping[str, float]
    settings: str
    changes: str
    seconds: float
    environment: str


RunsMeasured = Mapping[tuple[str, int], Measured | None]
"""By a run's name and its seed; None: it failed."""


def measured(
    suite: Suite, changes: Sequence[str], results: Mapping[tuple[str, int], Results | None]
) -> RunsMeasured:
    """Of these results. changes: settings that the command line gave to all runs."""
    return {
        (run, seed): None
        if result is None
        else Measured(
            numbers_of(suite, run, result.document()),
            _settings(suite, run),
            changes_of(changes),
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


def _settings(suite: Suite, run: str) -> str:
    return digest_of([*suite.common, *suite.runs[run]])


def changes_of(words: Sequence[str]) -> str:
    """These settings of a command line as they are kept; nothing for none."""
    return shlex.join(words)


def _environment(result: Results) -> str:
    its = result.environment
    versions = ", ".join(f"{name} {version}" for name, version in its.versions.items())
    return f"{versions}; {its.device}, {counted(its.threads, 'thread')} per run"


def together(suite: Suite, earlier: RunsMeasured, now: RunsMeasured) -> RunsMeasured:
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
        for run, seed, settings, changes, metric, value, seconds, environment in _lines(file):
            numbers = {**found[run, seed].numbers} if (run, seed) in found else {}
            numbers[metric] = value
            found[run, seed] = Measured(numbers, settings, changes, seconds, environment)
    return found


def of_today(
    suite: Suite, kept: Mapping[tuple[str, int], Measured]
) -> dict[tuple[str, int], Measured]:
    """Of these runs those that the suite has today: with its settings, its seeds, and all numbers
    of its rows."""
    return {
        (run, seed): one
        for (run, seed), one in kept.items()
        if run in suite.runs
        and seed in suite.seeds
        and one.settings == _settings(suite, run)
        and one.numbers.keys() == set(_metrics(suite, run))
    }


def _lines(file: Path) -> Iterable[Line]:
    lines = csv.reader(io.StringIO(content(file, MOST).decode()), strict=True)
    if next(lines, None) != HEADER:
        raise ValueError(f"its first line is not {','.join(HEADER)}")
    return map(_LINE.validate_python, lines)


def text(runs: RunsMeasured) -> str:
    """A line for each number of each complete run."""
    written = io.StringIO()
    lines = csv.writer(written, lineterminator="\n")
    lines.writerow(HEADER)
    for (run, seed), one in runs.items():
        if one is not None:
            after = [round(one.seconds, 1), one.environment]
            for metric, value in one.numbers.items():
                lines.writerow([run, seed, one.settings, one.changes, metric, value, *after])
    return written.getvalue()
