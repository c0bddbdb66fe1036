"""A heat map of a sweep of two settings of a strategy: the mean over seeds in each cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cl_runner.metrics import Metric
from cl_runner.report.compare.groups import Group, Section
from cl_runner.report.compare.values import in_brief, shown
from cl_runner.report.compare.varying import values_of
from cl_runner.report.render.colours import ink_on
from cl_runner.report.render.figures import plain, styled
from cl_runner.report.render.limits import percent_limits
from cl_runner.text import counted

MOST_VALUES = 12
"""Of a setting, so that the numbers in the cells can be read."""
FRAME = "#c84437"


def is_grid(groups: Sequence[Group], across: str, up: str) -> bool:
    """Whether more than half of the pairs of values were tried, each in one group, and not more
    than can be read."""
    size = [len(values_of(groups, key)) for key in (across, up)]
    cells = {(shown(group.varied.get(across)), shown(group.varied.get(up))) for group in groups}
    enough = len(cells) == len(groups) and 2 * len(cells) > size[0] * size[1]
    return enough and max(size) <= MOST_VALUES


@styled
def heat_map(
    section: Section, groups: Sequence[Group], across: str, up: str
) -> tuple[Figure, dict[str, str]]:
    """The figure, and what each cell says when pointed at. Values ascend to the right and up."""
    names = [in_brief(values_of(groups, key)) for key in (across, up)]
    columns, rows = map(list, names)
    size = 2.2 + 0.75 * len(columns), 1.3 + 0.5 * len(rows)
    figure = Figure(figsize=(max(size[0], 4.4), max(size[1], 2.6)), layout="constrained")
    axes, colours = figure.subplots(), _colours(section.metric, groups)
    hover: dict[str, str] = {}
    for group in groups:
        place = (
            columns.index(shown(group.varied.get(across))),
            rows.index(shown(group.varied.get(up))),
        )
        hover |= _draw_cell(axes, place, group, section.metric, colours)
    best = _marked(section, groups)
    x, y = columns.index(shown(best.varied.get(across))), rows.index(shown(best.varied.get(up)))
    frame = Rectangle((x - 0.46, y - 0.44), 0.92, 0.88, fill=False, gid="cell-marked")
    frame.set(edgecolor=FRAME, linewidth=2.5)
    axes.add_artist(frame)
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(-0.5, len(rows) - 0.5))
    axes.set_xticks(range(len(columns)), list(map(plain, names[0].values())))
    axes.set_yticks(range(len(rows)), list(map(plain, names[1].values())))
    axes.set(xlabel=plain(across), ylabel=plain(up), title=plain(groups[0].strategy))
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(colours, ax=axes, label=section.metric.label)
    bar.outline.set_visible(False)
    return figure, hover


def caption(section: Section, groups: Sequence[Group], across: str, up: str) -> str:
    """What the cells show, and what the frame marks."""
    several = any(len(group.complete) > 1 for group in groups)
    means = "mean over seeds ± standard deviation" if several else "one seed"
    chosen = section.chosen(groups) is not None
    return (
        f"The {section.metric.title} for each pair of {across} and {up}, on test data: {means}. "
        f"The frame marks the {'setting chosen on validation data' if chosen else 'best mean'}."
    )


def _marked(section: Section, groups: Sequence[Group]) -> Group:
    return section.chosen(groups) or section.best_first(groups)[0]


def _colours(metric: Metric, groups: Sequence[Group]) -> ScalarMappable:
    """From the worst mean to the best; of accuracies, at least as far as an axis reaches."""
    means = [metric.unit.factor * (group.spread(metric).mean or 0) for group in groups]
    if not metric.unit.logarithmic:
        return ScalarMappable(Normalize(*percent_limits(means)), "viridis")
    positive = [mean for mean in means if mean > 0] or [1.0]
    low, high = min(positive), max(positive)
    return ScalarMappable(LogNorm(low, max(high, 1.1 * low), clip=True), "viridis_r")


def _draw_cell(
    axes: Axes, place: tuple[int, int], group: Group, metric: Metric, colours: ScalarMappable
) -> dict[str, str]:
    """Draw the mean and, in small, the deviation. Returns the parts that can be pointed at."""
    (x, y), spread, unit = place, group.spread(metric), metric.unit
    colour: Any = colours.to_rgba(np.array(unit.factor * (spread.mean or 0)))
    gid, mean = f"cell-{x}-{y}", unit.text(spread.mean)
    # Neighbours overlap a little: otherwise the page shines through between them.
    cell = Rectangle((x - 0.5, y - 0.5), 1.01, 1.01, color=colour, linewidth=0, gid=gid)
    axes.add_artist(cell)
    written = {f"{gid}-mean": (mean, 0.12, 10.0)}
    words = f"{group.label}: {metric.title} {mean} {unit.sign}".rstrip()
    if spread.deviation is not None:
        written[f"{gid}-deviation"] = (f"± {unit.text(spread.deviation)}", -0.22, 8.0)
        words += f" ± {unit.text(spread.deviation)}"
    for part, (text, above, size) in written.items():
        axes.text(x, y + above, text, ha="center", va="center", fontsize=size,
                  color=ink_on(colour), gid=part)  # fmt: skip
    words += f" ({counted(spread.n, 'seed')})"
    return dict.fromkeys([gid, *written], words)
