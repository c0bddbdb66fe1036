"""Panels of a strategy over training: the accuracy on each task, and the terms of the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter

from cl_runner.measures import Measure
from cl_runner.report.compare.history import Line, Lines
from cl_runner.report.render.figures import plain, styled, task_colours
from cl_runner.report.render.limits import percent_limits
from cl_runner.report.render.looks import COLOURS, DASHES
from cl_runner.report.render.matrix_figures import Hover
from cl_runner.report.render.panel import panel

MOST_BANDS = 10
"""With more tasks, lines have no band, as bands would cover each other."""
MOST_LINES = 50
"""With more tasks, every second one has a line, or every third, and so on."""
FEW_POINTS = 12
"""If no line has more points, they are marked."""
DECADES = 1e6
"""Terms are drawn down to this part of the largest one."""
SIZE = {"width": 4.9, "height": 1.9, "left": 0.55, "right": 0.15, "above": 0.24, "below": 0.4}
Style = Mapping[str, Any]
TERM_STYLES: list[Style] = [
    {"color": colour, "linestyle": dashes}
    for colour, dashes in zip(COLOURS, cycle(DASHES), strict=False)
]


@styled
def accuracies(
    label: str, measure: Measure, lines: Lines, limits: tuple[float, float]
) -> tuple[Figure, Hover]:
    """The accuracy or error on each task, a line that begins where the task does. limits: of the
    vertical axis, in the shown unit."""
    figure, axes = panel(label, **SIZE)
    colours, unit, hover = task_colours(len(lines.switches) + 1), measure.unit, Hover()
    few = max(len(line.steps) for line in lines.measured.values()) <= FEW_POINTS
    for task in list(lines.measured)[:: -(-len(lines.measured) // MOST_LINES)]:
        line = lines.measured[task]
        gid = f"line-{task}"
        style: dict[str, Any] = {"color": colours[task], "marker": "o" if few else ""}
        style["clip_on"] = unit.logarithmic  # 0 and 100 % lie on the edge, with half their marks
        _draw(axes, line, style, gid, unit.factor, band=len(colours) <= MOST_BANDS)
        hover[gid] = f"{measure.title} on task {task + 1}"
    _draw_switches(axes, lines, colours)
    if unit.logarithmic:
        _set_log(axes, *limits)
    else:
        axes.set_ylim(limits)
    axes.set_ylabel(measure.label, fontsize=8)
    return figure, hover


def limits_of(measure: Measure, several: Sequence[Lines]) -> tuple[float, float]:
    """The limits of the vertical axis that all strategies share: around the values of all seeds; of
    errors, around all means."""
    unit, drawn = measure.unit, [line for lines in several for line in lines.measured.values()]
    if unit.logarithmic:
        means = np.concatenate([line.mean[line.mean > 0] for line in drawn] or [np.ones(1)])
        return (means.min() / 1.5, 1.5 * means.max()) if len(means) else (0.1, 1.0)
    return percent_limits(unit.factor * end for line in drawn for end in (*line.low, *line.high))


@styled
def terms(label: str, lines: Lines, styles: Mapping[str, Style]) -> tuple[Figure, Hover]:
    """Each term of the objective as it was minimised: with its weight. styles: of each term."""
    figure, axes = panel(label, **{**SIZE, "width": 3.95, "right": 1.25})
    hover = Hover()
    few = max(len(line.steps) for line in lines.terms.values()) <= FEW_POINTS
    for number, (term, line) in enumerate(lines.terms.items()):
        style = {**styles[term], "marker": "o" if few else "", "label": _short(term)}
        _draw(axes, line, style, f"line-{number}")
        hover[f"line-{number}"] = f"term {term}"
    _log_where_spanned(axes, [line.mean for line in lines.terms.values()])
    _draw_switches(axes, lines, None)
    axes.set_ylabel("term of the loss", fontsize=8)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    return figure, hover


def _draw(
    axes: Axes, line: Line, style: Style, gid: str, factor: float = 1.0, band: bool = True
) -> None:
    """The mean, and a band from the lowest seed to the highest."""
    look = {"linestyle": "-", "linewidth": 1.3, "markersize": 3, **style}
    axes.plot(line.steps, factor * line.mean, gid=gid, **look)
    if band and (line.low < line.high).any():
        ends = factor * line.low, factor * line.high
        axes.fill_between(line.steps, *ends, color=style["color"], alpha=0.2, linewidth=0)


def _draw_switches(axes: Axes, lines: Lines, colours: Sequence[str] | None) -> None:
    """A dotted line where a task ends and the next begins, and above the number of each task."""
    for switch in lines.switches:
        axes.axvline(switch, color="#7F7F7F", linewidth=0.9, linestyle=(0, (1, 2)), zorder=0.5)
    ends = [0.0, *lines.switches, lines.end]
    tasks = len(ends) - 1
    for task in range(0, tasks, -(-tasks // 20)):
        text = f"task {task + 1}" if tasks <= 5 else f"{task + 1}"
        middle = (ends[task] + ends[task + 1]) / 2
        place: Style = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        number = axes.annotate(text, (middle, 1), (0, 3), ha="center", fontsize=8, **place)
        if colours is not None:
            number.set_color(colours[task])
    axes.set_xlim(0, 1.01 * lines.end or 1)  # with room for a mark at the end
    axes.set_xlabel("optimizer step", fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.tick_params(labelsize=8)


def _log_where_spanned(axes: Axes, means: Sequence[Any]) -> None:
    """A logarithmic axis where terms span more than a factor of 30, if none is negative."""
    values = np.concatenate(means)
    positive = values[values > 0]
    if (values < 0).any() or len(positive) == 0 or positive.max() < 30 * positive.min():
        return
    lowest = max(positive.min(), positive.max() / DECADES)
    _set_log(axes, lowest / 1.5, 1.5 * positive.max())


def _set_log(axes: Axes, low: float, high: float) -> None:
    """A logarithmic axis with few labels: whole decades, or 0.1, 0.2, 0.5 where there are hardly
    any. Matplotlib would write 2 × 10⁻¹, which has no room."""
    axes.set_yscale("log", nonpositive="clip")
    axes.set_ylim(low, high)
    axes.yaxis.set_minor_formatter(NullFormatter())
    if high < 300 * low:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))


def _short(term: str) -> str:
    """The name of a term, as much of it as has room beside the axes."""
    return plain(term if len(term) <= 20 else f"{term[:19]}…")
