"""The verdict on a row: our mean over seeds against the published number, in both directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

from cl_runner.reproduce.suite import Row, Suite, number_at
from cl_runner.run_folder.outcome import Environment
from cl_runner.text import aligned

HEADER = ["row", "published", "ours", "s.d.", "n", "allowed", "verdict"]


@dataclass(frozen=True)
class Verdict:
    """One judged row. Its numbers are in percent if the row's are."""

    row: Row
    mean: float | None
    deviation: float | None  # sample standard deviation over seeds; None for fewer than two
    n: int
    missing: int  # seeds whose run failed or lacks the number; never dropped silently

    @property
    def word(self) -> str:
        """`ok`, `too low`, `too high`, `ours` (nothing published), or `failed`."""
        if self.missing > 0 or self.mean is None:
            return f"failed ({self.missing} of {self.n + self.missing} runs)"
        low, high = self.limits
        if low is None and high is None:
            return "ours"
        if low is not None and self.mean < low:
            return "too low"
        return "too high" if high is not None and self.mean > high else "ok"

    @property
    def limits(self) -> tuple[float | None, float | None]:
        """The allowed range: published ± tolerance, or a goal."""
        row = self.row
        if row.published is None or row.tolerance is None:
            return row.at_least, row.at_most
        return row.published - row.tolerance, row.published + row.tolerance


Document = Mapping[str, Any]
"""The content of a `results.json`."""


def judge(suite: Suite, results: Mapping[tuple[str, int], Document | None]) -> list[Verdict]:
    """One verdict per row. results: of each (run, seed), None if it failed."""
    return [_judge_row(row, [results[row.run, seed] for seed in suite.seeds]) for row in suite.rows]


def _judge_row(row: Row, results: Sequence[Document | None]) -> Verdict:
    values = []
    for result in results:
        with suppress(LookupError, TypeError):  # no such number, or no results at all
            value = number_at(row.metric, result or {})
            values.append(100 * value if row.percent else value)
    return Verdict(
        row,
        mean=fmean(values) if values else None,
        deviation=stdev(values) if len(values) > 1 else None,
        n=len(values),
        missing=len(results) - len(values),
    )


def good(verdicts: Sequence[Verdict]) -> bool:
    return all(verdict.word in ("ok", "ours") for verdict in verdicts)


def plain(verdicts: Sequence[Verdict]) -> str:
    """The table as text for a terminal."""
    return aligned(HEADER, list(map(_cells, verdicts)))


def markdown(
    suite: Suite,
    changes: Sequence[str],
    verdicts: Sequence[Verdict],
    environment: Environment | None,
) -> str:
    """The table as a page, with the reason for each tolerance, and the versions and machine.

    changes: settings given in addition to the suite's own; environment: None if all runs failed.
    """
    table = [HEADER, ["---"] * len(HEADER), *map(_cells, verdicts)]
    lines = ["| " + " | ".join(cells) + " |" for cells in table]
    reasons = dict.fromkeys(f"- {v.row.reason}" for v in verdicts if v.row.reason)
    where = "no run was finished" if environment is None else _where(environment)
    seeds = ", ".join(map(str, suite.seeds))
    head = [f"# {suite.title}", "", f"Source: {suite.source}", "", *lines, ""]
    notes = [f"Accuracies in %, mean and s.d. over seeds {seeds}.", "", *reasons, ""]
    typed = " ".join(["cl-reproduce", suite.typed, *changes])
    return "\n".join([*head, *notes, f"`{typed}`; {where}.", ""])


def _where(environment: Environment) -> str:
    versions = [f"{name} {version}" for name, version in environment.versions.items()]
    return f"{', '.join(versions)}; {environment.device}, {environment.threads} thread per run"


def as_json(suite: Suite, changes: Sequence[str], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    judged = [
        {**asdict(v.row), "mean": v.mean, "deviation": v.deviation, "n": v.n, "verdict": v.word}
        for v in verdicts
    ]
    about = {"suite": suite.name, "changes": list(changes), "seeds": suite.seeds}
    return {**about, "good": good(verdicts), "rows": judged}


def _cells(verdict: Verdict) -> list[str]:
    row = verdict.row
    numbers = [row.published, verdict.mean, verdict.deviation]
    digits = ".2f" if row.percent else ".3g"
    shown = ["–" if number is None else f"{number:{digits}}" for number in numbers]
    allowed = {"± ": row.tolerance, "≥ ": row.at_least, "≤ ": row.at_most}
    limits = " ".join(f"{sign}{limit:g}" for sign, limit in allowed.items() if limit is not None)
    return [row.row, *shown, str(verdict.n), limits or "–", verdict.word]
