"""The page of a suite: its table, its figure, what explains the rows outside, how it was run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from cl_runner.reproduce.kept_numbers import RunsMeasured
from cl_runner.reproduce.suite import Suite
from cl_runner.reproduce.verdict import HEADER, UNJUDGED, Verdict, cells, foot
from cl_runner.text import counted

PERCENT = "Accuracies in %. "
MEANS = (
    "Means stand with ± one standard error over seeds; allowed is the distance"
    " between the means at which a row is still ok: max(0.5, 2 √(se² + se_published²)) if the paper"
    " gives a spread."
)
ORIGINS = {
    "transcribed": "(T): copied from the paper by others; such a row does not decide.",
    "recalled": "(R): from memory, not verified; such a row does not decide.",
}


def markdown(
    suite: Suite,
    given: Sequence[str],
    verdicts: Sequence[Verdict],
    runs: RunsMeasured,
    figure: str | None = None,
    numbers: str | None = None,
) -> str:
    """The page. given: what was typed after the suite's name; figure, numbers: the paths from the
    page of the picture and of the file with the numbers of each run."""
    first = [v for v in verdicts if v.word != UNJUDGED]
    rest = [v for v in verdicts if v.word == UNJUDGED]
    marks = [text for origin, text in ORIGINS.items() if any(v.row.origin == origin for v in first)]
    reasons = dict.fromkeys(f"- {v.row.reason}" for v in verdicts if v.row.reason)
    typed = " ".join(["cl-reproduce", suite.typed, *given])
    blocks = [
        f"# {suite.title}",
        f"Source: {suite.source}",
        f"```\n{typed}\n```",
        _table(first) if first else "",
        "\n".join(f"**{line}.**" for line in foot(verdicts)),
        f"![Published and ours]({figure})" if figure else "",
        PERCENT * any(v.row.percent for v in verdicts) + MEANS,
        "\n".join(marks),
        "\n".join(reasons),
        _explanations(first),
        suite.notes.strip(),
        f"## Without a published number\n\n{_table(rest)}" if rest else "",
        _how(runs),
        f"[The numbers of each run]({numbers})" if numbers else "",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _table(verdicts: Sequence[Verdict]) -> str:
    rows = [HEADER, ["---"] * len(HEADER), *map(cells, verdicts)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _explanations(verdicts: Sequence[Verdict]) -> str:
    """Of each row outside: what explains it. The same text for several rows is written once."""
    rows: dict[str, list[str]] = {}
    for verdict in verdicts:
        if verdict.is_outside:
            rows.setdefault(verdict.row.explanation or "Not explained.", []).append(verdict.row.row)
    lines = [f"- **{'; '.join(names)}:** {text.strip()}" for text, names in rows.items()]
    return "\n".join(["## Rows outside", "", *lines]) if lines else ""


def _how(runs: RunsMeasured) -> str:
    """Seeds, time and versions."""
    complete = [one for one in runs.values() if one is not None]
    if not complete:
        return "No run was finished."
    seeds = ", ".join(map(str, sorted({seed for _, seed in runs})))
    minutes = f"{sum(one.seconds for one in complete) / 60:.0f} minutes of one core"
    where = Counter(one.environment for one in complete)
    lines = [
        f"{counted(n, 'run')}: {on}." if len(where) > 1 else f"{on}." for on, n in where.items()
    ]
    return f"Seeds {seeds}: {counted(len(complete), 'run')}, {minutes}. {' '.join(lines)}"
