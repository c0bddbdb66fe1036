"""Tables as Markdown, LaTeX and CSV; whatever a user has named stays text in each of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from cl_runner.metrics import Metric
from cl_runner.report.compare.groups import Section, shown
from cl_runner.report.render.page import Page
from cl_runner.report.render.tables import Table

MARKDOWN = str.maketrans(
    {c: f"\\{c}" for c in "\\`*_[]|#~$"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
)
LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}", **{c: f"\\{c}" for c in "&%$#_"}, "±": r"$\pm$", "–": "--",
    "α": r"$\alpha$", "<": r"\textless{}", ">": r"\textgreater{}", "≤": r"$\leq$",
    "≥": r"$\geq$", "−": r"$-$", "θ": r"$\theta$", "|": r"\textbar{}",
    "[": "{[}", "*": "{*}",  # after the end of a line they would be its options
})  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a spreadsheet takes for the beginning of a formula."""


def markdown(table: Table) -> str:
    """With its heading and notes."""
    lines = [[c.text for c in row] for row in table.rows]
    cells = [[_escaped(text) for text in row] for row in [table.columns, *lines]]
    cells.insert(1, ["---"] * len(table.columns))
    rows = ["| " + " | ".join(row) + " |" for row in cells]
    notes = [f"\n{_escaped(note)}" for note in table.notes]
    return "\n".join([f"### {_escaped(table.title)}", "", *rows, *notes, ""])


def markdown_page(page: Page) -> str:
    """What the page shows, its figures left out."""
    texts = [f"# {_escaped(page.title)}", _escaped(page.counts), *map(markdown, page.verdict)]
    for chapter in page.chapters:
        texts.append(f"## {_escaped(chapter.title)}")
        texts.append("\n".join(f"- {_escaped(sentence)}" for sentence in chapter.sentences))
        texts += map(markdown, [*chapter.tables, *chapter.details])
        texts += [_escaped(chapter.choice.why)] if chapter.choice else []
    return "\n\n".join(text.rstrip() for text in texts) + "\n"


def latex(table: Table) -> str:
    """A `tabular` of the package booktabs: text to the left, numbers to the right."""
    align = "".join("r" if number else "l" for number in table.numeric)
    lines = [table.columns, *([c.text for c in row] for row in table.rows)]
    head, *body = [" & ".join(_line(t).translate(LATEX) for t in row) + r" \\" for row in lines]
    return "\n".join([
        f"% {_line(table.title)}; needs \\usepackage{{booktabs}}", rf"\begin{{tabular}}{{{align}}}",
        r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}", "",
    ])  # fmt: skip


def results_csv(sections: Sequence[Section]) -> str:
    """One row per group; metrics as in `results.json`, unrounded, with their standard deviation and
    the ends of their 95 % interval."""
    metrics, keys = _of_any(sections)
    columns = [f"{metric.name}{end}" for metric in metrics for end in ("", "_sd", "_low", "_high")]
    rows: list[list[Any]] = [
        ["stream", "strategy", *keys, "n", "not_complete", *columns, "validation"]
    ]
    for section in sections:
        for group in section.groups:
            spreads = [group.spread(metric) for metric in metrics]
            rows.append([
                section.title, group.strategy, *_values(group.varied, keys),
                len(group.complete), len(group.unfinished),
                *(v for s in spreads for v in (s.mean, s.deviation, s.low, s.high)),
                group.validation.mean,
            ])  # fmt: skip
    return _csv(rows)


def runs_csv(sections: Sequence[Section]) -> str:
    """One row per run, one that is not complete with its state and the first line of its error."""
    metrics, keys = _of_any(sections)
    costs = ["seconds", "steps", "samples_forward", "samples_backward", "peak_memory_bytes"]
    names = [metric.name for metric in metrics]
    rows: list[list[Any]] = [
        ["stream", "run", "strategy", *keys, "seed", "state", "error", *names, "validation",
         *costs, "state_bytes", "alarms"]
    ]  # fmt: skip
    for section in sections:
        for group in section.groups:
            for run in group.runs:
                done = run.outcome
                rows.append([
                    section.title, run.name, group.strategy, *_values(group.varied, keys),
                    shown(run.seed), run.state, run.error,
                    *(run.value(metric) for metric in metrics), done and done.validation_mean,
                    *(done and getattr(done.cost, name) for name in costs),
                    done and sum(done.cost.state_bytes.values()),
                    "; ".join(done.alarms if done else []),
                ])  # fmt: skip
    return _csv(rows)


def _of_any(sections: Sequence[Section]) -> tuple[list[Metric], list[str]]:
    """The metrics and the varied settings of all sections."""
    metrics = {metric.name: metric for section in sections for metric in section.metrics}
    return list(metrics.values()), list(dict.fromkeys(k for s in sections for k in s.varied))


def _values(varied: dict[str, Any], keys: Sequence[str]) -> list[Any]:
    """Numbers stay numbers; a setting that the group does not have stays empty."""
    values = [varied.get(key, "") for key in keys]
    return [v if isinstance(v, int | float) and not isinstance(v, bool) else shown(v)
            for v in values]  # fmt: skip


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [_harmless(value) if isinstance(value, str) else value for value in row] for row in rows
    )
    return text.getvalue()


def _harmless(text: str) -> str:
    """An apostrophe keeps a spreadsheet from computing what a user has named `=1+1`; what is a
    number stays one."""
    try:
        float(text)
    except ValueError:
        return f"'{text}" if text.startswith(FORMULA) else text
    return text


def _escaped(text: str) -> str:
    return _line(text).translate(MARKDOWN)


def _line(text: str) -> str:
    return " ".join(text.split())
