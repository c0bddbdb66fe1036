"""The figure of a suite: each published number and ours, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cl_runner.report.render.figures import plain, styled
from cl_runner.report.render.limits import LEAST, limit_percent
from cl_runner.report.render.looks import COLOURS
from cl_runner.run_folder.schemas import Judged

PUBLISHED, OURS, OUTSIDE = COLOURS[7], COLOURS[0], COLOURS[1]
ALLOWED = "#dddddd"
MOST_ROWS = 200
"""The figure would be too tall, and a file from elsewhere could keep us drawing for hours."""


@styled
def published_and_ours(judged: Sequence[Judged]) -> Figure | None:
    """One line per row. Left, both means with two standard errors; right, ours minus published, and
    grey what is allowed. None if nothing was published in percent, or too much to be drawn."""
    rows = [
        (row.published, row.mean, row)
        for row in judged
        if row.published is not None and row.mean is not None and row.percent
    ]
    if not 0 < len(rows) <= MOST_ROWS:
        return None
    figure = Figure(figsize=(8.4, 1.3 + 0.24 * len(rows)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    heights = [float(height) for height in range(len(rows), 0, -1)]
    for height, (published, ours, row) in zip(heights, rows, strict=True):
        colour = OUTSIDE if row.is_outside else OURS
        _point(left, published, row.published_error, height + 0.14, PUBLISHED, "D")
        _point(left, ours, row.error, height - 0.14, colour, "o")
        if row.allowed is not None:
            right.barh(height, 2 * row.allowed, 0.8, -row.allowed, color=ALLOWED, zorder=0)
        _point(right, ours - published, row.error, height, colour, "o")
    right.axvline(0, color=PUBLISHED, linewidth=0.8)
    left.set_yticks(heights, [plain(row.row) for _, _, row in rows], fontsize=8)
    left.set(xlabel="in %, with two standard errors", ylim=(0.4, len(rows) + 0.6))
    right.set(xlabel="ours − published, in points")
    limit_percent([left], "x", lowest=-100.0 if left.dataLim.x0 < -LEAST else 0.0)
    legend = {"published": (PUBLISHED, "D"), "ours": (OURS, "o")}
    if any(row.is_outside for _, _, row in rows):
        legend["ours, outside"] = (OUTSIDE, "o")
    for label, (colour, marker) in legend.items():
        fill = "none" if marker == "D" else "full"
        left.plot([], [], marker, color=colour, markersize=4, fillstyle=fill, label=label)
    if any(row.allowed is not None for _, _, row in rows):
        left.barh(0, 0, color=ALLOWED, label="allowed difference")
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def _point(
    axes: Axes, mean: float, error: float | None, height: float, colour: str, marker: str
) -> None:
    """A mean, and two standard errors on each side of it."""
    fill = "none" if marker == "D" else "full"
    width = None if error is None else 2 * error
    axes.errorbar(mean, height, xerr=width, fmt=marker, color=colour, fillstyle=fill,
                  markersize=4, elinewidth=1.2)  # fmt: skip
