"""Text of others for a terminal or a log: what would steer a terminal is shown, never sent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_STEERS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tabulator and newline
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # they turn the direction, or end a line
    "\ud800-\udfff]"  # halves of characters, which no terminal takes
)


def harmless(text: str) -> str:
    """The text with each such character as its escape, such as `\\x1b`."""
    return _STEERS.sub(lambda found: ascii(found.group())[1:-1], text)


def one_line(text: str) -> str:
    """The same where a newline would break a row."""
    return harmless(text).replace("\n", "\\n").replace("\t", " ")


def summary(results: dict[str, Any], folder: Path) -> str:
    """The matrix of one run, its headline metrics, alarms and folder."""
    measure = results["metrics_are_of"]
    R = results[measure]
    rows = [[f"after {t + 1}", *(number(v, measure) for v in row)] for t, row in enumerate(R)]
    table = aligned(["task", *(str(k + 1) for k in range(len(R)))], rows)
    metrics = {name.replace("_", " "): number(results[name], name) for name in headline([results])}
    lines = [
        f"{results['strategy']} on {results['experiment']}, seed {results['seed']}: "
        + ("mean squared error" if measure == "mse" else "accuracy in %"),
        table,
        "  ".join(f"{name} {value}" for name, value in metrics.items())
        + f"  {results['cost']['seconds']:.1f} s",
        *(f"ALARM: {alarm}" for alarm in results["alarms"]),
        f"run folder: {folder}",
    ]
    return harmless("\n".join(lines))


def headline(runs: Sequence[dict[str, Any]]) -> list[str]:
    """The metrics to show of these results: of errors if all are of regression, else accuracies."""
    if runs and all(results["metrics_are_of"] == "mse" for results in runs):
        return ["average_mse", "mse_growth"]
    return ["average_accuracy", "forgetting", "backward_transfer"]


def number(value: float | None, name: str) -> str:
    """A value of the measure or metric of this name: an error, or a share in percent."""
    if "mse" not in name:
        return percent(value)
    return "–" if value is None else f"{value:.3g}"


def percent(value: float | None) -> str:
    """A share in percent; a dash where a metric does not apply."""
    return "–" if value is None else f"{100 * value:.1f}"


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of equal width: the first two of text to the left, numbers to the right."""
    rows = [[one_line(cell) for cell in row] for row in rows]
    table = [[one_line(cell) for cell in header], *rows]
    widths = [max(len(row[c]) for row in table) for c in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if not _number(rows, c) else cell.rjust(w)
            for c, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    )


def _number(rows: Sequence[Sequence[str]], column: int) -> bool:
    return column > 0 and all(not row[column][:1].isalpha() for row in rows)
