"""A paper's table as LaTeX, Markdown and CSV. Names stay text in all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from cl_runner.metrics import Metric
from cl_runner.report.compare.values import shown
from cl_runner.report.paper.cells import Grid, varying
from cl_runner.report.paper.keys import DATASET, STRATEGY, Place, value_of
from cl_runner.report.paper.layout import Entry, Layout, Line, error_of
from cl_runner.report.paper.marks import At, Mark
from cl_runner.report.render.formats import csv_text, latex_text, markdown_text

SIZES = (("", 1.0, 6), (r"\small", 0.9, 4), (r"\footnotesize", 0.8, 3), (r"\scriptsize", 0.7, 2))
"""Of type, with its factor and the points beside each column; the first that fits is taken."""
TEXT_WIDTH, CHARACTER = 345, 5.2
"""Points: the width of a text in LaTeX's class `article`, and about that of a character."""


def latex(table: Layout, notes: Sequence[str] = ()) -> str:
    """A complete `table` for the package booktabs; notes are comments before it."""
    stubs, columns = len(table.stubs), len(table.levels[0])
    body: list[str] = []
    for line in table.lines:
        body += {"rule": [r"\midrule"], "space": [r"\addlinespace"], "": []}[line.gap]
        body.append(_row([*map(latex_text, line.stubs), *_entries(line)]))
    small = _size(table)
    align = f"@{{}}{'l' * stubs}{'c' * columns}@{{}}"
    lines = [
        "% needs \\usepackage{booktabs}",
        *(f"% {' '.join(note.split())}" for note in notes),
        r"\begin{table}[t]",
        r"  \centering",
        r"  \setlength{\belowcaptionskip}{6pt}",
        *small,
        rf"  \caption{{{latex_text(table.caption.text('underlined'))}}}",
        rf"  \label{{tab:{re.sub('[^A-Za-z0-9]+', '-', table.name).strip('-') or 'results'}}}",
        rf"  \begin{{tabular}}{{{align}}}",
        *(f"    {row}" for row in [r"\toprule", *_head(table), r"\midrule", *body, r"\bottomrule"]),
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def markdown(table: Layout, notes: Sequence[str] = ()) -> str:
    """The same for a page; its lines are aligned to be read on a terminal too."""
    head = [", ".join(texts) for texts in zip(*table.levels, strict=True)]
    rows = [[markdown_text(text) for text in [*table.stubs, *head]]]
    for line in table.lines:
        rows.append([*map(markdown_text, line.stubs), *map(_marked, line.entries)])
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    stubs = len(table.stubs)
    rule = ["-" * w if i < stubs else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    lines = []
    for row in [rows[0], rule, *rows[1:]]:
        cells = [
            text.ljust(width) if i < stubs else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(f"| {' | '.join(cells)} |")
    texts = [markdown_text(table.caption.text("in italics")), *map(markdown_text, notes)]
    return "\n\n".join(["\n".join(lines), *texts]) + "\n"


def csv(grid: Grid, metrics: Sequence[Metric], marks: Mapping[str, Mapping[At, Mark]]) -> str:
    """A line for each cell and metric, unrounded, with names as they are typed."""
    keys = [*grid.row_keys, *grid.column_keys]
    lines = []
    for row in grid.rows:
        for column in grid.columns:
            for metric in metrics:
                line: dict[str, Any] = {
                    key.name: "" if value is None else value
                    for key, value in zip(keys, (*row, *column), strict=True)
                }
                mark = marks[metric.name].get((row, column), Mark())
                lines.append(line | _numbers(grid, row, column, metric, mark))
    return csv_text(lines)


def _numbers(grid: Grid, row: Place, column: Place, metric: Metric, mark: Mark) -> dict[str, Any]:
    cell, group = grid.cells.get((row, column)), grid.group(row, column)
    by_seed = group.by_seed(metric) if group else {}
    spread = group.spread(metric) if group else None
    return {
        "metric": metric.name,
        "mean": spread and spread.mean,
        "sd": spread and spread.deviation,
        "sem": spread and error_of(spread, "sem"),
        "n": len(by_seed),
        "seeds": " ".join(shown(seed) for seed in by_seed),
        "not_complete": cell.unfinished if cell else 0,
        "best": "yes" if mark.best else "",
        "not_significantly_worse": "yes" if mark.close else "",
        "p": mark.p,
        "settings": _settings(grid, row, column),
    }


def _settings(grid: Grid, row: Place, column: Place) -> str:
    """What differs between the cells of its method or was chosen, but for the keys of the table."""
    group = grid.group(row, column)
    if group is None:
        return ""
    strategy = value_of(group, STRATEGY)
    differ = varying(g for g in grid.shown if value_of(g, STRATEGY) == strategy)
    keys = [key for key in differ if key not in grid.keys and not key.startswith(DATASET)]
    keys += [key for name, key, _ in grid.chosen if name == strategy]
    values = {key: value_of(group, key) for key in keys}
    return "; ".join(f"{key}={value}" for key, value in values.items() if value is not None)


def _size(table: Layout) -> list[str]:
    """The size of type that makes the table about as wide as the text."""
    stubs = [[line.stubs[i] for line in table.lines] for i in range(len(table.stubs))]
    columns = zip(
        table.levels[-1], zip(*(line.entries for line in table.lines), strict=True), strict=True
    )
    texts = [*stubs, *([head, *(entry.text for entry in entries)] for head, entries in columns)]
    characters = sum(max(map(len, column)) for column in texts)
    wide = [
        characters * CHARACTER * factor + 2 * gap * (len(texts) - 1) for _, factor, gap in SIZES
    ]
    fitting = next((i for i, width in enumerate(wide) if width <= TEXT_WIDTH), -1)
    size, _, gap = SIZES[fitting]
    return [f"  {size}", rf"  \setlength{{\tabcolsep}}{{{gap}pt}}"] if size else []


def _head(table: Layout) -> list[str]:
    """The headings: a line for each level, with rules below those that span columns."""
    stubs, lines = len(table.stubs), []
    for depth, texts in enumerate(table.levels):
        above = list(zip(*table.levels[: depth + 1], strict=True))
        spans = [len(list(same)) for _, same in groupby(above)]
        last = depth == len(table.levels) - 1
        cells, rules, at = [], [], 0
        for span in [1] * len(texts) if last else spans:
            first = stubs + at + 1
            cells.append(_spanning(latex_text(texts[at]), span))
            rules.append(rf"\cmidrule(lr){{{first}-{first + span - 1}}}")
            at += span
        own = [latex_text(stub) for stub in table.stubs] if last else [""] * stubs
        lines.append(_row([*own, *cells]))
        lines += [] if last else [" ".join(rules)]
    return lines


def _entries(line: Line) -> list[str]:
    """The cells of a row. Neighbours that show the same runs are one, if they are marked alike."""
    cells = []
    for (group, _, _), same in groupby(
        line.entries, key=lambda e: (e.group, e.metric, (e.mark.best, e.mark.close))
    ):
        entries = list(same)
        if group is None:
            cells += [latex_text(entry.text) for entry in entries]
        else:
            cells.append(_spanning(_set(entries[0]), len(entries)))
    return cells


def _set(entry: Entry) -> str:
    mean, spread = latex_text(entry.mean), latex_text(entry.spread)
    if entry.mark.best:
        mean = rf"\textbf{{{mean}}}"
    elif entry.mark.close:
        mean = rf"\underline{{{mean}}}"
    return f"{mean} {spread}".rstrip()


def _spanning(text: str, span: int) -> str:
    return text if span == 1 else rf"\multicolumn{{{span}}}{{c}}{{{text}}}"


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _marked(entry: Entry) -> str:
    sign = "**" if entry.mark.best else "*" if entry.mark.close else ""
    return f"{sign}{markdown_text(entry.mean)}{sign} {markdown_text(entry.spread)}".rstrip()
