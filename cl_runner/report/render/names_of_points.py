"""Names beside points, where there is room for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

from cl_runner.report.render.figures import plain

SIZE = 8.0
"""Of the letters, in points."""
GAPS = ((6, 4), (6, -11), (-6, 4), (-6, -11), (0, 9), (0, -16))
"""Where a name may begin (or end, on the left), in points from its point."""


@dataclass(frozen=True)
class Name:
    text: str  # empty for a point without a name, which no other name covers
    place: tuple[float, float]  # of its point, in the data's coordinates
    colour: str


def write_names(axes: Axes, names: Sequence[Name]) -> None:
    """Write each name inside the axes where it covers no point and no other name; leave it out if
    there is no such place. The limits of the axes have to be final."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # settles where the axes are
    points = [axes.transData.transform(name.place) for name in names]
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in points]
    for name, (x, y) in dict(zip(names, points, strict=True)).items():  # each of them once
        if not name.text:
            continue
        text = plain(name.text)
        scale = figure.dpi / 72
        width, height = 0.58 * SIZE * len(text) * scale, SIZE * scale
        for right, up in GAPS:
            left = x + right * scale - (width if right < 0 else width / 2 if right == 0 else 0)
            box = Bbox.from_bounds(left, y + up * scale, width, height)
            inside = axes.bbox.x0 < box.x0 and box.x1 < axes.bbox.x1 and axes.bbox.y0 < box.y0
            if not inside or any(box.overlaps(other) for other in taken):
                continue
            side = "right" if right < 0 else "left" if right else "center"
            axes.annotate(text, name.place, (right, up), textcoords="offset points", ha=side,
                          va="bottom", fontsize=SIZE, color=name.colour)  # fmt: skip
            taken.append(box)
            break
