"""Tables as Markdown, LaTeX and CSV. Names that a user chose stay plain text in all of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from cl_runner.metrics import Metric
from cl_runner.report.compare.groups import Group, Section
from cl_runner.report.compare.values import is_number, shown
from cl_runner.report.render.page import Chapter, Page
from cl_runner.report.render.table import Table

MARKDOWN = str.maketrans(
    {c: f"\\{c}" for c in "\\`*_[]|#~$"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
)
_NAMED = {"\\": "backslash", "~": "asciitilde", "^": "asciicircum", "<": "less", ">": "greater"}
_FORMULAS = {"±": r"\pm", "α": r"\alpha", "θ": r"\theta", "≤": r"\leq", "≥": r"\geq", "−": "-"}
LATEX = str.maketrans(
    {c: f"\\{c}" for c in "{}&%$#_"}
    | {c: rf"\text{name}{{}}" for c, name in {**_NAMED, "|": "bar"}.items()}
    | {c: f"${formula}$" for c, formula in _FORMULAS.items()}
    | {"–": "--", "[": "{[}", "*": "{*}"}  # the last two would be options after `\\`
)
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""Beginnings that a spreadsheet takes for a formula."""


def markdown(table: Table) -> str:
    """The table with its heading and notes."""
    lines = [[c.text for c in row] for row in table.rows]
    cells = [[markdown_text(text) for text in row] for row in [table.columns, *lines]]
    cells.insert(1, ["---"] * len(table.columns))
    rows = ["| " + " | ".join(row) + " |" for row in cells]
    notes = [f"\n{markdown_text(note)}" for note in table.notes]
    return "\n".join([f"### {markdown_text(table.title)}", "", *rows, *notes, ""])


def markdown_page(page: Page) -> str:
    """The page without its figures."""
    texts = [
        f"# {markdown_text(page.title)}",
        markdown_text(page.counts),
        *map(markdown, [*page.verdict, *page.unjudged]),
    ]
    for chapter in page.chapters:
        texts.append(f"## {markdown_text(chapter.title)}")
        texts += [markdown_text(chapter.trained)] if chapter.trained else []
        texts.append("\n".join(f"- {markdown_text(sentence)}" for sentence in chapter.sentences))
        if chapter.why and (said := [*chapter.why.alarms, *chapter.why.sentences]):
            lines = [f"- {markdown_text(sentence)}" for sentence in said]
            texts += ["### Why it forgot", "\n".join(lines), *map(markdown, chapter.why.tables)]
        texts += map(markdown, [*chapter.tables, *chapter.details])
        texts += [markdown_text(chapter.choice.why)] if chapter.choice else []
    return "\n\n".join(text.rstrip() for text in texts) + "\n"


def latex(table: Table) -> str:
    """A `tabular` for the package booktabs: text on the left, numbers on the right."""
    align = "".join("r" if number else "l" for number in table.numeric)
    lines = [table.columns, *([c.text for c in row] for row in table.rows)]
    head, *body = [" & ".join(latex_text(t) for t in row) + r" \\" for row in lines]
    title = f"% {_line(table.title)}; needs \\usepackage{{booktabs}}"
    top = [title, rf"\begin{{tabular}}{{{align}}}", r"\toprule", head, r"\midrule"]
    return "\n".join([*top, *body, r"\bottomrule", r"\end{tabular}", ""])


def results_csv(sections: Sequence[Section]) -> str:
    """One row per group. Metrics are as in `results.json`, unrounded, each with its standard
    deviation and the ends of its 95 % interval."""
    metrics, settings = _of_any(sections)
    rows = []
    for section in sections:
        for group in section.groups:
            row: dict[str, Any] = {"stream": section.title, "strategy": group.strategy}
            row |= {key: _setting(group, key) for key in settings}
            row |= {"n": len(group.complete), "not_complete": len(group.unfinished)}
            for metric in metrics:
                s = group.spread(metric)
                ends = {"": s.mean, "_sd": s.deviation, "_low": s.low, "_high": s.high}
                row |= {f"{metric.name}{end}": value for end, value in ends.items()}
            rows.append(row | {"validation": group.validation.mean})
    return csv_text(rows)


def runs_csv(sections: Sequence[Section]) -> str:
    """One row per run, complete or not, with its state and the first line of its error."""
    metrics, settings = _of_any(sections)
    costs = ["seconds", "steps", "samples_forward", "samples_backward", "peak_memory_bytes"]
    rows = []
    for section in sections:
        for group in section.groups:
            for run in group.runs:
                done = run.outcome
                row: dict[str, Any] = {"stream": section.title, "run": run.name}
                row["strategy"] = group.strategy
                row |= {key: _setting(group, key) for key in settings}
                row |= {"seed": shown(run.seed), "state": run.state, "error": run.error}
                row |= {metric.name: run.value(metric) for metric in metrics}
                row |= {"validation": done and done.validation_mean}
                row |= {name: done and getattr(done.cost, name) for name in costs}
                row |= {"state_bytes": done and sum(done.cost.state_bytes.values())}
                rows.append(row | {"alarms": "; ".join(done.alarms if done else [])})
    return csv_text(rows)


def forgetting_csv(chapters: Sequence[Chapter]) -> str | None:
    """One row per run and pair of tasks: what became of one after the other. None if no run has
    predictions."""
    rows = [row for chapter in chapters if chapter.why for row in chapter.why.rows]
    return csv_text(rows) if rows else None


def _of_any(sections: Sequence[Section]) -> tuple[list[Metric], list[str]]:
    """The metrics and the varied settings of all sections."""
    metrics = {metric.name: metric for section in sections for metric in section.metrics}
    return list(metrics.values()), list(dict.fromkeys(k for s in sections for k in s.varied))


def _setting(group: Group, key: str) -> Any:
    """Numbers stay numbers; empty if the group does not have the setting."""
    value = group.varied.get(key, "")
    return value if is_number(value) else shown(value)


def csv_text(rows: Sequence[dict[str, Any]]) -> str:
    """Columns are named by the keys, which all rows share."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [_harmless(value) if isinstance(value, str) else value for value in row]
        for row in [rows[0], *(row.values() for row in rows)]
    )
    return text.getvalue()


def _harmless(text: str) -> str:
    """An apostrophe keeps a spreadsheet from computing a name such as `=1+1`. Numbers stay
    numbers."""
    try:
        float(text)
    except ValueError:
        return f"'{text}" if text.startswith(FORMULA) else text
    return text


def markdown_text(text: str) -> str:
    """Text as Markdown shows it."""
    return _line(text).translate(MARKDOWN)


def latex_text(text: str) -> str:
    """Text as LaTeX shows it."""
    return _line(text).translate(LATEX)


def _line(text: str) -> str:
    return " ".join(text.split())
