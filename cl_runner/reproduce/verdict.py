"""The verdict on a row: our mean over seeds against the published number, in both directions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

from cl_runner.measures import standard_error
from cl_runner.reproduce.kept_numbers import Measured, RunsMeasured
from cl_runner.reproduce.suite import Row, Suite
from cl_runner.run_folder.schemas import OUTSIDE
from cl_runner.text import aligned, counted

HEADER = ["row", "published", "ours", "s.d.", "n", "allowed", "verdict"]
LEAST = 0.5
"""The smallest computed tolerance, in points."""
UNJUDGED = "ours"
"""The word for a row without a published number or a goal."""
NOT_RUN = "not run"
"""The word for a row whose run was not wanted."""


@dataclass(frozen=True)
class Verdict:
    """One judged row. Its numbers are in percent if the row's are."""

    row: Row
    mean: float | None
    deviation: float | None  # sample standard deviation over seeds; None for fewer than two
    n: int
    missing: int  # seeds whose run failed or lacks the number; never dropped silently
    wanted: int  # the number of seeds of the suite; with fewer there is no verdict

    @property
    def word(self) -> str:
        """`ok`, `too low`, `too high`, `ours` (nothing published), or why there is no verdict."""
        if self.n == self.missing == 0:
            return NOT_RUN
        if self.missing > 0 or self.mean is None:
            return f"failed ({self.missing} of {self.n + self.missing} runs)"
        if not self.is_judged:
            return UNJUDGED
        if self.n < self.wanted:
            return f"{self.n} of {counted(self.wanted, 'seed')}, no verdict"
        low, high = self.limits
        if low is not None and self.mean < low:
            return "too low"
        return "too high" if high is not None and self.mean > high else "ok"

    @property
    def is_outside(self) -> bool:
        return self.word in OUTSIDE

    @property
    def is_judged(self) -> bool:
        """Whether something was published, or there is a goal."""
        row = self.row
        return not (row.published is None and row.at_least is None and row.at_most is None)

    @property
    def decides(self) -> bool:
        """Whether it counts for the exit code."""
        return self.is_judged and self.row.origin == "verified"

    @property
    def error(self) -> float | None:
        """The standard error of our mean; None for fewer than two seeds."""
        return standard_error(self.deviation, self.n)

    @property
    def tolerance(self) -> float | None:
        """In points, in both directions: the row's, or max(0.5, 2 √(se² + se_published²)) where a
        spread was published. None if there is neither, or only one seed."""
        row = self.row
        if row.published is None or row.tolerance is not None:
            return row.tolerance
        if row.error is None or self.error is None:
            return None
        return max(LEAST, 2 * math.hypot(self.error, row.error))

    @property
    def limits(self) -> tuple[float | None, float | None]:
        """The allowed range: published ± tolerance, or a goal."""
        row = self.row
        if row.published is None or self.tolerance is None:
            return row.at_least, row.at_most
        return row.published - self.tolerance, row.published + self.tolerance


def judge(suite: Suite, runs: RunsMeasured, wanted: int = 0) -> list[Verdict]:
    """One verdict per row. wanted: the number of seeds without which there is no verdict."""
    return [
        _judge_row(row, [one for (run, _), one in runs.items() if run == row.run], wanted)
        for row in suite.rows
    ]


def _judge_row(row: Row, runs: Sequence[Measured | None], wanted: int) -> Verdict:
    numbers = [one.numbers[row.metric] for one in runs if one and row.metric in one.numbers]
    values = [100 * number if row.percent else number for number in numbers]
    return Verdict(
        row,
        mean=fmean(values) if values else None,
        deviation=stdev(values) if len(values) > 1 else None,
        n=len(values),
        missing=len(runs) - len(values),
        wanted=wanted,
    )


def good(verdicts: Sequence[Verdict]) -> bool:
    """Whether no run failed, and no row that decides is outside."""
    failed = any(v.missing > 0 for v in verdicts)
    return not failed and not any(v.decides and v.is_outside for v in verdicts)


def plain(verdicts: Sequence[Verdict], everything: bool = True) -> str:
    """The table as text for a terminal, and its foot. everything: also rows without a published
    number or goal, if others have one."""
    leading = list(verdicts) if everything else _leading(verdicts)
    table = aligned(HEADER, list(map(cells, leading)))
    absent = sum(v.word == NOT_RUN for v in verdicts)
    folded = len(verdicts) - len(leading) - (0 if everything else absent)
    more = [f"{counted(folded, 'row')} without a published number: --all"] if folded else []
    more += [f"{counted(absent, 'row')} not run"] if absent else []
    return "\n".join([table, *foot(verdicts), *more])


def _leading(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Those to show first: judged or failed; if there are none, all that were run."""
    done = [v for v in verdicts if v.word != NOT_RUN]
    return [v for v in done if v.word != UNJUDGED] or done


def foot(verdicts: Sequence[Verdict]) -> list[str]:
    """How many rows are within, too high and too low: of those that decide, then of others."""
    lines = []
    for decides, of in ((True, ""), (False, " (not verified: they decide nothing)")):
        judged = [v for v in verdicts if v.is_judged and v.word != NOT_RUN]
        words = Counter(v.word for v in judged if v.decides == decides)
        outside = [f"{words[word]} {word}" for word in ("too high", "too low") if words[word]]
        with_verdict = words["ok"] + words["too high"] + words["too low"]
        rest = words.total() - with_verdict
        without = [f"{counted(rest, 'row')} without a verdict"] if rest else []
        if words:
            within = [f"{words['ok']} of {with_verdict} within"] if with_verdict else []
            lines.append(", ".join([*within, *outside, *without]) + of)
    return lines


def as_json(suite: Suite, changes: Sequence[str], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The content of `verdict.json`."""
    judged = [
        {
            **asdict(v.row),
            "mean": v.mean,
            "deviation": v.deviation,
            "n": v.n,
            "allowed": v.tolerance,
            "verdict": v.word,
        }
        for v in verdicts
    ]
    about = {"suite": suite.name, "changes": list(changes), "seeds": suite.seeds}
    return {**about, "good": good(verdicts), "rows": judged}


def cells(verdict: Verdict) -> list[str]:
    """A line of the table. Means stand with their standard errors."""
    row = verdict.row
    digits = ".2f" if row.percent else ".3g"
    published = _mean(row.published, row.error, digits)
    if row.published is not None and row.origin != "verified":
        published += f" ({row.origin[0].upper()})"
    deviation = "–" if verdict.deviation is None else f"{verdict.deviation:{digits}}"
    allowed = {"± ": verdict.tolerance, "≥ ": row.at_least, "≤ ": row.at_most}
    limits = " ".join(
        f"{sign}{round(limit, 2) if row.percent else limit:g}"
        for sign, limit in allowed.items()
        if limit is not None
    )
    ours = _mean(verdict.mean, verdict.error, digits)
    return [row.row, published, ours, deviation, str(verdict.n), limits or "–", verdict.word]


def _mean(mean: float | None, error: float | None, digits: str) -> str:
    if mean is None:
        return "–"
    return f"{mean:{digits}}" if error is None else f"{mean:{digits}} ± {error:{digits}}"
