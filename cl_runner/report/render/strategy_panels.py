"""What the page shows of each strategy by itself: blocks of panels, one panel for each setting."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TypeVar

import matplotlib
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from cl_runner.report.compare.confusion import Confusion, confusion
from cl_runner.report.compare.groups import Group, Section
from cl_runner.report.compare.history import Lines, lines
from cl_runner.report.render import matrix_figures, training_figures
from cl_runner.report.render.drawings import Drawing, most_telling
from cl_runner.report.render.figures import STYLE

T = TypeVar("T")
Of = list[tuple[str, T]]
"""Of some groups, by their labels."""
Drawn = Iterator[tuple[str, tuple[Figure, dict[str, str]]]]
NAME = "each_strategy"
MOST_PANELS = 12
"""Of more settings, those that tell most have a panel, as the caption says."""


@dataclass(frozen=True)
class Block:
    """Panels of the same kind, folded on the page."""

    name: str
    title: str
    caption: str
    panels: Sequence[Drawing]


def blocks(section: Section) -> list[Block]:
    """The best setting first. What was not recorded is left out: without `metrics.jsonl` the lines
    over training; without predictions, and in regression, the confusion matrix. Of a single run,
    other figures show the first two blocks."""
    groups, left_out = most_telling(section, MOST_PANELS)
    if not groups:
        return []
    measure = section.measure
    several = any(len(group.complete) > 1 for group in groups)
    over_seeds = " Numbers are means over seeds." * several
    trained = _found(groups, lines)
    logged = [(label, found) for label, found in trained if found.end > 0]  # not in closed form
    confused = _found(groups, confusion)
    made = [
        (
            f"{measure.title} matrix",
            MATRIX + over_seeds,
            "matrices",
            _matrices(section, groups),
        ),
        (
            f"{measure.title} over training",
            _on_curves(logged),
            "training",
            _curves(section, logged),
        ),
        ("terms of the loss over training", TERMS + _on_bands(logged), "terms", _terms(logged)),
        (
            "confusion matrix",
            _on_confusion(confused) + over_seeds,
            "confusion",
            _confusions(confused),
        ),
    ]
    alone = sum(len(group.complete) for group in section.measured) == 1
    found = []
    for title, caption, kind, drawn in made[2:] if alone else made:
        panels = [
            Drawing(kind, f"{label}: {title}", figure, hover) for label, (figure, hover) in drawn
        ]
        if panels:
            found.append(Block(kind, title[0].upper() + title[1:], f"{caption}{left_out}", panels))
    return found


def save(blocks: Sequence[Block], folder: Path) -> list[Path]:
    """Write `each_strategy.pdf`, a page for each panel, if there is one: to embed the fonts once
    takes less time than to draw. The same panels always give the same bytes."""
    if not blocks:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{NAME}.pdf"
    with matplotlib.rc_context(fname=STYLE), PdfPages(file, metadata={"CreationDate": None}) as pdf:
        for block in blocks:
            for drawing in block.panels:
                pdf.savefig(drawing.figure)
    return [file]


def _found(groups: Sequence[Group], of: Callable[[Group], T | None]) -> Of[T]:
    return [(group.label, found) for group in groups if (found := of(group)) is not None]


def _matrices(section: Section, groups: Sequence[Group]) -> Drawn:
    if section.tasks < 2:
        return
    matrices = {g.label: [run.results.matrix for run in g.complete] for g in groups}
    means = [matrix_figures.over_seeds(several)[0] for several in matrices.values()]
    colours = matrix_figures.colours_of(section.measure, means)
    for label, several in matrices.items():
        yield label, matrix_figures.measured(label, section.measure, several, colours)


def _curves(section: Section, logged: Of[Lines]) -> Drawn:
    limits = training_figures.limits_of(section.measure, [found for _, found in logged])
    for label, found in logged:
        yield label, training_figures.accuracies(label, section.measure, found, limits)


def _terms(logged: Of[Lines]) -> Drawn:
    """A term looks the same in all panels."""
    names = dict.fromkeys(term for _, found in logged for term in found.terms)
    looks = dict(zip(names, cycle(training_figures.TERM_STYLES), strict=False))
    for label, found in logged:
        if found.terms:
            yield label, training_figures.terms(label, found, looks)


def _confusions(confused: Of[Confusion]) -> Drawn:
    for label, found in confused:
        yield label, matrix_figures.confusion_matrix(label, found)


MATRIX = (
    "Row: the task learned last; column: the task measured. Colours mean the same in all panels."
)
TERMS = (
    "Each term as it was minimised, with its weight; each value is the mean since the previous "
    "logged one. Each panel has its own scale."
)


def _on_curves(logged: Of[Lines]) -> str:
    tasks = max((len(found.measured) for _, found in logged), default=0)
    every = -(-tasks // training_figures.MOST_LINES)
    left_out = f" Of the {tasks} tasks, one in {every} has a line." if every > 1 else ""
    if all(len(found.measured[0].steps) <= tasks for _, found in logged):
        left_out += (
            " These runs were evaluated after each task only; runs with evaluate_every=epoch show "
            "what happens within one."
        )
    return (
        "Each line is a task, from where it begins, in the colour of its number above. Dotted: "
        f"one task ends, and the next begins.{_on_bands(logged)}{left_out}"
    )


def _on_bands(logged: Of[Lines]) -> str:
    if all(found.seeds == 1 for _, found in logged):
        return ""
    return " Lines are means over seeds; a band reaches from the lowest seed to the highest."


def _on_confusion(confused: Of[Confusion]) -> str:
    """What rows and columns are; where seeds learn the classes in different orders, by position."""
    words = (
        "After the last task, on the test samples of all tasks. Row: the true class; column: the "
        "class predicted, in % of the row. The colour scale is stretched "
        "where shares are small."
    )
    if any(len(found.tasks) > 1 for _, found in confused):
        words += " White lines are between tasks."
    if any(found.labels is None for _, found in confused):
        words += " Seeds have different orders of classes, so classes are numbered as learned."
    return words
