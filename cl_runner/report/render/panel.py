"""Panels: small figures of fixed size, one for each strategy, that stand side by side."""

from __future__ import annotations

from textwrap import wrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cl_runner.report.render.figures import plain

TITLE_LINE, EDGE = 0.17, 0.08  # inches: the height of a title's line, empty space at the edges


def panel(
    title: str,
    width: float,
    height: float,
    *,
    left: float,
    right: float,
    above: float,
    below: float,
) -> tuple[Figure, Axes]:
    """Axes of this size in inches, with this room around them and the title above. A layout by
    matplotlib would make each panel another size, and take longer than to draw it."""
    whole = left + width + right
    lines = wrap(plain(title), max(20, int(13 * (whole - 2 * EDGE)))) or [""]
    top = EDGE + len(lines) * TITLE_LINE
    tall = below + height + above + top
    figure = Figure(figsize=(whole, tall))
    axes = figure.add_axes((left / whole, below / tall, width / whole, height / tall))
    for number, line in enumerate(lines):
        height = 1 - (EDGE + (number + 0.75) * TITLE_LINE) / tall  # of the baseline
        figure.text(EDGE / whole, height, line, weight="bold", fontsize=9)
    return figure, axes
