"""How a report shows why strategies forgot: sentences, tables, bars of the parts of the loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cl_runner.forgetting import Parts, Shares
from cl_runner.measures import SHARE
from cl_runner.report.compare.alike import alike
from cl_runner.report.compare.groups import Section
from cl_runner.report.compare.reasons import Reason, limits, reasons, sentences
from cl_runner.report.render.drawings import Drawing
from cl_runner.report.render.figures import MOST_LINES, plain, styled
from cl_runner.report.render.limits import limit_percent
from cl_runner.report.render.table import Cell, Table

PARTS = {
    "features": ("#0072B2", "features: no linear head tells the classes apart"),
    "head": ("#E69F00", "head: its own classifier does not tell them apart"),
    "both": ("#56B4E9", "features and head: the classes are not told apart"),
    "hidden": ("#D55E00", "hidden: right among its own classes, called one of another task"),
}
"""Colour and meaning of each part."""
MOST_TASKS = 10
"""The table task by task has all rows up to this number of tasks, else only the last ones."""


Column = tuple[str, Callable[[Parts, Shares], float | None]]
LOSS: list[Column] = [
    ("lost", lambda lost, now: lost.loss),
    ("by features", lambda lost, now: pieces(lost)["features"]),
    ("by head", lambda lost, now: pieces(lost)["head"]),
    ("by features and head", lambda lost, now: pieces(lost)["both"]),
    ("hidden", lambda lost, now: pieces(lost)["hidden"]),
    ("told apart by head", lambda lost, now: now.right_among_own),
    ("told apart by refitted head", lambda lost, now: now.right_by_probe),
    ("refitted head, all classes", lambda lost, now: now.probe_among_all),
]
CALLED: list[Column] = [
    ("called right", lambda lost, now: now.right),
    ("class of the last task", lambda lost, now: now.called_latest),
    ("class of another task", lambda lost, now: now.called_other),
    ("wrong class of its own task", lambda lost, now: now.called_own),
]


@dataclass(frozen=True)
class Why:
    """What the page says about the reasons; details are folded."""

    alarms: list[str]
    sentences: list[str]
    tables: list[Table]
    figures: list[Drawing]
    details: list[Table]
    rows: list[dict[str, Any]]  # of `forgetting.csv`


def why(section: Section) -> Why:
    """Of the runs of a section that have predictions."""
    explained = reasons(section)
    said = [*sentences(section, explained), *limits(section, explained)]
    if not explained:
        return Why(alike(section), said, [], [], [], [])
    return Why(
        alike(section),
        said,
        [what_was_lost(explained), what_samples_are_called(explained)],
        drawings_of(explained),
        [task_by_task(explained), class_by_class(explained)],
        list(rows(section, explained)),
    )


def pieces(lost: Parts) -> dict[str, float | None]:
    """The parts under the names of PARTS. Without a refitted head, features and head are one."""
    if lost.features is None:
        return {"features": None, "head": None, "both": lost.head, "hidden": lost.hidden}
    return {"features": lost.features, "head": lost.head, "both": None, "hidden": lost.hidden}


def what_was_lost(explained: Sequence[Reason]) -> Table:
    """One row per group: means over its seeds and all tasks but the last."""
    lines = []
    for reason in explained:
        kind = Cell("validation" if reason.probed else "test")
        numbers = [reason.then.right, reason.now.right, *_values(LOSS, reason.lost, reason.now)]
        name = Cell(reason.group.label, setting=reason.group.label)
        lines.append([name, kind, *map(_cell, numbers)])
    columns = ["strategy", "samples", "just learned", "at the end", *_names(LOSS)]
    refitted = (
        " and by one refitted to the features of all tasks; of the latter also the accuracy among "
        "all classes"
    )
    notes = [
        "Accuracies in %, means over all tasks but the last and over seeds. What features and head "
        "lost, and what is hidden, add up to what was lost. Told apart: accuracy at the end among "
        "the classes of the task alone, by the run's own classifier"
        f"{refitted * any(reason.probed for reason in explained)}. Guessing among them gives "
        f"{SHARE.text(explained[0].chance)} %.",
    ]
    return Table("What was lost", columns, lines, notes).without_empty()


def what_samples_are_called(explained: Sequence[Reason]) -> Table:
    """One row per group: shares of the samples of all tasks but the last, and the bias."""
    lines = []
    for reason in explained:
        numbers = [*_values(CALLED, reason.lost, reason.now), reason.bias]
        name = Cell(reason.group.label, setting=reason.group.label)
        lines.append([name, *map(_cell, numbers)])
    columns = ["strategy", *_names(CALLED), "bias to the last task"]
    bias = (
        " Bias: the share of the samples of all tasks that are called a class of the last task, "
        "minus the share that belongs to it."
    )
    known = any(reason.bias is not None for reason in explained)
    notes = [f"Shares in % of the samples of all tasks but the last, at the end.{bias * known}"]
    return Table("What the samples are called", columns, lines, notes).without_empty()


def _names(columns: Sequence[Column]) -> list[str]:
    return [name for name, _ in columns]


def _values(columns: Sequence[Column], lost: Parts, now: Shares) -> list[float | None]:
    return [value(lost, now) for _, value in columns]


def _cell(value: float | None) -> Cell:
    """A share as text; no minus before what rounds to 0."""
    return Cell(SHARE.text(None if value is None else round(value, 3) + 0.0), value)


def task_by_task(explained: Sequence[Reason]) -> Table:
    """One row per group and pair of tasks: what became of an earlier one after a later one."""
    last = len(explained[0].courses[0].shares) - 1
    after = range(1, last + 1) if last < MOST_TASKS else [last]
    lines = []
    for reason in explained:
        for t in after:
            for k in range(t):
                then, now, lost = reason.at(k, k), reason.at(t, k), reason.parts(t, k)
                places = Cell.number(t + 1), Cell.number(k + 1), _cell(then.right)
                numbers = map(_cell, _values([*CALLED, *LOSS], lost, now))
                lines.append([Cell(reason.group.label), *places, *numbers])
    columns = ["strategy", "after task", "on task", "just learned", *_names([*CALLED, *LOSS])]
    notes = ["In %, means over seeds; columns as in the tables above."]
    if last >= MOST_TASKS:
        notes.append("Only after the last task; forgetting.csv has all.")
    return Table("What was lost, task by task", columns, lines, notes).without_empty()


def class_by_class(explained: Sequence[Reason]) -> Table:
    """One row per class, one column per group: accuracy after the last task."""
    shown, few = _shown(explained)
    results = shown[0].runs[0][0].results
    lines = []
    for task, own in zip(results.tasks, results.class_ranges, strict=True):
        numbers = map(Cell.number, task.classes or [])
        names = numbers if task.class_names is None else map(Cell, task.class_names)
        for number, name in zip(own, names, strict=True):
            means = [reason.of_class(number) for reason in shown]
            lines.append([name, Cell(task.name), *map(_cell, means)])
        if results.shares_classes:
            break
    columns = ["class", "task", *(reason.group.label for reason in shown)]
    note = f"In %, after the last task, means over seeds.{few}"
    return Table("Accuracy of each class", columns, lines, [note])


def _shown(explained: Sequence[Reason]) -> tuple[Sequence[Reason], str]:
    """As many as the eye can tell apart, and what to say of those left out."""
    few = f" Shown are the best {MOST_LINES} of {len(explained)}."
    return explained[:MOST_LINES], few * (len(explained) > MOST_LINES)


def drawings_of(explained: Sequence[Reason]) -> list[Drawing]:
    shown, few = _shown(explained)
    caption = (
        "What earlier tasks have lost at the end, in parts that add up to the loss (the line); "
        f"means over those tasks and seeds. What was gained is left of 0.{few}"
    )
    return [Drawing("why", caption, bars(shown))]


@styled
def bars(explained: Sequence[Reason]) -> Figure:
    """A stacked bar for each group: gains to the left, losses to the right, their sum as a line."""
    figure = Figure(figsize=(8.4, 1.3 + 0.42 * len(explained)), layout="constrained")
    axes = figure.subplots()
    for height, reason in enumerate(explained):
        _bar(axes, height, reason.lost)
    axes.set_yticks(range(len(explained)), [plain(reason.group.label) for reason in explained])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    limit_percent([axes], "x", lowest=-100.0 if axes.dataLim.x0 < 0 else 0.0)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("accuracy lost on earlier tasks, in points")
    shown = [pieces(reason.lost) for reason in explained]
    for name, (colour, meaning) in PARTS.items():
        if any(parts[name] is not None for parts in shown):
            axes.barh(0, 0, color=colour, label=meaning)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=1)
    return figure


def _bar(axes: Axes, height: int, lost: Parts) -> None:
    ends = {1: 0.0, -1: 0.0}
    for name, (colour, _) in PARTS.items():
        size = 100 * (pieces(lost)[name] or 0.0)
        side = 1 if size > 0 else -1
        axes.barh(height, size, 0.62, left=ends[side], color=colour, linewidth=0)
        ends[side] += size
    total = 100 * lost.loss
    axes.plot([total, total], [height - 0.38, height + 0.38], color="black", linewidth=1.8,
              linestyle="-", marker="")  # fmt: skip
    axes.annotate(f"{total:.1f}", (max(ends[1], total), height), (5, 0), va="center",
                  textcoords="offset points", fontsize=9)  # fmt: skip


def rows(section: Section, explained: Sequence[Reason]) -> Iterator[dict[str, Any]]:
    """One per run and pair of tasks, unrounded."""
    for reason in explained:
        for run, course in reason.runs:
            for after, row in enumerate(course.shares):
                for task, shares in enumerate(row):
                    lost = course.parts(after, task)
                    yield {
                        "stream": section.title, "run": run.name, "strategy": reason.group.label,
                        "seed": run.seed, "samples": "validation" if reason.probed else "test",
                        "after_task": after + 1, "on_task": task + 1, **vars(shares),
                        "lost": lost.loss, **pieces(lost),
                    }  # fmt: skip
