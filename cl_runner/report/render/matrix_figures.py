"""Matrices of a strategy as pictures: accuracies task by task, and which class is called what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cl_runner.measures import SHARE, Measure, Unit
from cl_runner.metrics import Matrix
from cl_runner.report.compare.confusion import Confusion
from cl_runner.report.render.colours import INKS, ink_on
from cl_runner.report.render.figures import plain, styled
from cl_runner.report.render.panel import panel
from cl_runner.text import counted

Values: TypeAlias = np.ndarray[Any, Any]
Hover = dict[str, str]
"""The id of a part of a figure → what the page says when it is pointed at."""
MOST_NUMBERS = 10
"""Up to this many rows, each cell has its number."""
LONGEST, LETTER = 10, 0.055
"""Letters of a class's name beside the axes, and the room in inches that each takes."""
MOST_CELLS = 20
"""Up to this many rows, each cell can be pointed at; a larger matrix is one picture."""


def over_seeds(matrices: Sequence[Matrix]) -> tuple[Values, Values]:
    """The mean of each cell, NaN where it is empty, and its deviation, NaN for a single seed."""
    values = np.array(matrices, dtype=float)
    if len(values) == 1:
        return values[0], np.full_like(values[0], np.nan)
    return values.mean(axis=0), values.std(axis=0, ddof=1)


def colours_of(measure: Measure, matrices: Sequence[Values]) -> Normalize:
    """Those of all strategies: from 0 to 100 %, or from the smallest error to the largest."""
    if not measure.unit.logarithmic:
        return Normalize(0, measure.unit.factor)
    errors = np.concatenate([matrix[matrix > 0] for matrix in matrices])
    low, high = (errors.min(), errors.max()) if len(errors) else (1.0, 1.0)
    return LogNorm(low, high if high > low else 10 * low, clip=True)


@styled
def measured(
    label: str, measure: Measure, matrices: Sequence[Matrix], colours: Normalize
) -> tuple[Figure, Hover]:
    """A row for each task learned, a column for each task measured; means over seeds."""
    values, deviations = over_seeds(matrices)
    unit, tasks = measure.unit, len(values)
    size = min(max(0.55 * tasks, 1.7), 2.65)
    figure, axes = panel(label, size, size, left=0.5, right=0.65, above=0.08, below=0.4)
    heat = _HeatMap(axes, "viridis" if measure.more_is_better else "viridis_r", colours)
    texts = {
        (t, k): (
            _short(unit, values[t, k]),
            f"after task {t + 1}, on task {k + 1}: {unit.text(values[t, k])}"
            + _spread(unit, deviations[t, k], len(matrices)),
        )
        for t, k in zip(*np.nonzero(~np.isnan(values)), strict=True)
    }
    hover = heat.draw(unit.factor * values, texts)
    ticks = range(0, tasks, -(-tasks // 20))
    axes.set_xticks(ticks, [f"{k + 1}" for k in ticks])
    axes.set_yticks(ticks, [f"{k + 1}" for k in ticks])
    axes.set_xlabel("measured on task", fontsize=8)
    axes.set_ylabel("after task", fontsize=8)
    heat.draw_scale(figure, measure.label)
    return figure, hover


@styled
def confusion_matrix(label: str, confusion: Confusion) -> tuple[Figure, Hover]:
    """A row for each true class, a column for each predicted class; lines between tasks."""
    classes = len(confusion.shares)
    size, tasks = 2.65 if classes <= MOST_NUMBERS else 4.5, confusion.tasks
    longest = max(map(len, _tick_labels(confusion)))
    room = {"left": 0.39 + LETTER * longest, "below": 0.45 + LETTER * max(longest - 3, 0)}
    figure, axes = panel(label, size, size, right=0.65, above=0.24, **room)
    heat = _HeatMap(axes, "viridis", PowerNorm(0.5, 0, 100))
    names = confusion.labels or [
        f"{number + 1} in the order of learning" for number in range(classes)
    ]
    texts = {}
    for row, column in zip(*np.nonzero(~np.isnan(confusion.shares)), strict=True):
        share = confusion.shares[row, column]
        deviation = None if confusion.deviations is None else confusion.deviations[row, column]
        words = f"class {names[row]} predicted as {names[column]}: {SHARE.text(share)}"
        number = f"{100 * share:.0f}" if share >= 0.005 else ""
        texts[row, column] = number, words + _spread(SHARE, deviation, confusion.seeds)
    hover = heat.draw(100 * confusion.shares, texts)
    for earlier in tasks[:-1]:
        axes.axhline(earlier.stop - 0.5, color=INKS[1], linewidth=0.7, alpha=0.7)
        axes.axvline(earlier.stop - 0.5, color=INKS[1], linewidth=0.7, alpha=0.7)
    _name_classes(axes, confusion)
    axes.set_xlabel("predicted class", fontsize=8)
    axes.set_ylabel("true class", fontsize=8)
    heat.draw_scale(figure, "% of the true class")
    return figure, hover


def _tick_labels(confusion: Confusion) -> list[str]:
    """What each class is called, as much of it as has room beside the axes."""
    names = confusion.labels or [f"{n + 1}" for n in range(len(confusion.shares))]
    return [plain(name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…") for name in names]


def _name_classes(axes: Axes, confusion: Confusion) -> None:
    """Classes below and on the left, as many as have room; task numbers above."""
    classes, tasks = len(confusion.shares), confusion.tasks
    shown = range(0, classes, -(-classes // 22))
    names = _tick_labels(confusion)
    upright = classes > 10 or max(map(len, names)) > 3
    axes.set_xticks(shown, [names[c] for c in shown], fontsize=7, rotation=90 * upright)
    axes.set_yticks(shown, [names[c] for c in shown], fontsize=7)
    if len(tasks) == 1:
        return
    for number in range(0, len(tasks), -(-len(tasks) // 20)):
        middle = (tasks[number].start + tasks[number].stop - 1) / 2
        text = f"task {number + 1}" if number == 0 and len(tasks) <= 6 else f"{number + 1}"
        axes.annotate(text, (middle, 1), (0, 3), xycoords=("data", "axes fraction"), fontsize=8,
                      textcoords="offset points", ha="center")  # fmt: skip


class _HeatMap:
    """A matrix in colours. Small ones have a number in each cell, which can be pointed at."""

    def __init__(self, axes: Axes, colours: str, norm: Normalize) -> None:
        self.axes, self.colours = axes, ScalarMappable(norm, colours)
        axes.grid(False)
        axes.tick_params(length=0, labelsize=8)
        for spine in axes.spines.values():
            spine.set_visible(False)

    def draw(self, values: Values, texts: dict[tuple[int, int], tuple[str, str]]) -> Hover:
        """values: [rows, rows]; texts: of each cell, what is written on it and what it says."""
        rows = len(values)
        self.axes.set(xlim=(-0.5, rows - 0.5), ylim=(rows - 0.5, -0.5))
        rgba = self.colours.to_rgba(np.ma.masked_invalid(values))
        if rows > MOST_CELLS:
            self.axes.imshow(rgba, interpolation="none", aspect="auto")
            return {}
        hover = {}
        for (row, column), (number, words) in texts.items():
            gid, colour = f"cell-{row}-{column}", rgba[row, column]
            hover[gid] = words
            # Neighbours overlap a little: otherwise the page shines through between them.
            cell = Rectangle((column - 0.5, row - 0.5), 1.02, 1.02, color=colour, linewidth=0)
            cell.set_gid(gid)
            self.axes.add_artist(cell)
            if rows <= MOST_NUMBERS and number:
                text = self.axes.text(column, row, number, ha="center", va="center", fontsize=7)
                text.set(color=ink_on(colour), gid=f"{gid}-number")
                hover[f"{gid}-number"] = words
        return hover

    def draw_scale(self, figure: Figure, label: str) -> None:
        """The scale of the colours, on the right."""
        box = self.axes.get_position()
        width = figure.get_figwidth()
        axes = figure.add_axes((box.x1 + 0.1 / width, box.y0, 0.1 / width, box.height))
        bar = figure.colorbar(self.colours, cax=axes)
        bar.outline.set_visible(False)
        axes.set_ylabel(label, fontsize=8)
        axes.tick_params(labelsize=7, length=2)
        axes.minorticks_off()
        axes.grid(False)


def _short(unit: Unit, value: float) -> str:
    """A number that has room in a cell."""
    return f"{value:.2g}" if unit.logarithmic else unit.text(value).replace("100.0", "100")


def _spread(unit: Unit, deviation: float | None, seeds: int) -> str:
    sign = f" {unit.sign}" if unit.sign else ""
    if deviation is None or np.isnan(deviation):
        return f"{sign} ({counted(seeds, 'seed')})"
    return f"{sign} ± {unit.text(deviation)} ({counted(seeds, 'seed')})"
