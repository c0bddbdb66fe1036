"""Runs as a notebook shows them: small tables, and the matrix as a picture, in any theme."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from cl_runner.measures import FEW, SHARE
from cl_runner.metrics import METRICS
from cl_runner.report.compare.means import Means
from cl_runner.run_folder.outcome import Results
from cl_runner.text import harmless

CELL, MARGIN = 44, 26
"""Width of a square of the matrix, and of the numbers of tasks beside it, in pixels."""
TEXT = "text-align: left; padding: 0.1em 0.8em 0.1em 0;"
NUMBER = "text-align: right; padding: 0.1em 0.8em 0.1em 0; font-variant-numeric: tabular-nums;"


def safe(text: object) -> str:
    """The text for HTML. It may come from someone else's folder."""
    return escape(harmless(str(text)))


def of_run(results: Results, folder: object) -> str:
    """The metrics that the run has, its matrix, its alarms and its folder."""
    title = f"{results.strategy} on {results.experiment}, seed {results.seed}"
    every = [m for m in METRICS.values() if results.metrics.get(m.name) is not None]
    rows = [[m.title, f"{m.unit.text(results.metrics[m.name])} {m.unit.sign}"] for m in every]
    blocks = [
        f"<b>{safe(title)}</b>",
        '<div style="display: flex; flex-wrap: wrap; gap: 0.5em 2em; align-items: flex-start;">'
        f"{table(['metric', 'value'], rows)}{matrix(results)}</div>",
        *(f"<div><b>ALARM:</b> {safe(alarm)}</div>" for alarm in results.alarms),
        f"<small>{safe(folder)}</small>",
    ]
    return f'<div style="max-width: 60em;">{"".join(blocks)}</div>'


def of_runs(every: Iterable[Means], states: str, unfinished: Sequence[Sequence[str]]) -> str:
    """The means, then what became of the runs. unfinished: folder, state and error of each."""
    blocks = []
    for each in every:
        blocks += [f"<div><b>{safe(each.title)}</b></div>", table(each.columns, each.rows)]
    blocks.append(f"<div>{safe(states)}</div>")
    if unfinished:
        blocks.append(table(["run", "state", "error"], unfinished))
    return f'<div style="overflow-x: auto;">{"".join(blocks)}</div>'


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of numbers are aligned to the right."""
    numbers = [not any(row[i][:1].isalpha() for row in rows) and i > 0 for i in range(len(columns))]
    styles = [f' style="{NUMBER if number else TEXT}"' for number in numbers]

    def cells(tag: str, row: Sequence[str]) -> str:
        each = (f"<{tag}{s}>{safe(v)}</{tag}>" for s, v in zip(styles, row, strict=True))
        return f"<tr>{''.join(each)}</tr>"

    body = "".join(cells("td", row) for row in rows)
    return f"<table><thead>{cells('th', columns)}</thead><tbody>{body}</tbody></table>"


def matrix(results: Results) -> str:
    """One row after each task, one column for each: the darker, the better. With up to ten tasks
    the numbers stand in the squares; a pointer on a square always shows its number."""
    rows, measure = results.matrix, results.measure
    tasks = len(rows)
    cell = CELL if tasks <= FEW else max(4, CELL * FEW // tasks)
    size = MARGIN + cell * tasks
    marks = [_square(results, t, k, cell) for t in range(tasks) for k in range(t + 1)]
    numbered = range(tasks) if tasks <= FEW else (0, tasks - 1)
    for t in numbered:
        middle = MARGIN + cell * (t + 0.5)
        marks.append(_text(middle, MARGIN - 8, str(t + 1)))
        marks.append(_text(MARGIN - 12, middle + 4, str(t + 1)))
    label = f"{measure.label} on each task (column) after each task (row)"
    return (
        '<figure style="margin: 0; max-width: 100%;">'
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" width="{size}" '
        f'style="max-width: 100%; height: auto;" role="img" aria-label="{safe(label)}" '
        f'font-family="sans-serif" font-size="12" fill="currentColor">{"".join(marks)}</svg>'
        f"<figcaption><small>{safe(label)}</small></figcaption></figure>"
    )


def _square(results: Results, t: int, k: int, cell: int) -> str:
    value = results.matrix[t][k]
    text = results.measure.unit.text(value)
    x, y = MARGIN + cell * k, MARGIN + cell * t
    told = f"task {k + 1} ({results.tasks[k].name}) after task {t + 1}: {text}"
    number = _text(x + cell / 2, y + cell / 2 + 4, text) if len(results.tasks) <= FEW else ""
    return (
        f'<g><title>{safe(told)}</title><rect x="{x}" y="{y}" width="{cell - 1}" '
        f'height="{cell - 1}" fill="#0072B2" fill-opacity="{_shade(results, value):.2f}"/>'
        f"{number}</g>"
    )


def _shade(results: Results, value: float | None) -> float:
    """How dark a square is: at most half, so that the number on it can be read."""
    if value is None:
        return 0.0
    if results.measure.unit == SHARE:
        return 0.05 + 0.45 * min(max(value, 0.0), 1.0)
    errors = [math.log(v) for row in results.matrix for v in row if v is not None and v > 0]
    low, high = min(errors, default=0.0), max(errors, default=0.0)
    if high == low or value <= 0:
        return 0.5
    return 0.05 + 0.45 * (high - math.log(value)) / (high - low)


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="middle">{safe(text)}</text>'
