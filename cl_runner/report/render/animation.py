"""Animation of a regression: how the fit changes while a network learns one task after another.

The page has it as lines, which are sharp at any size; beside it stand a GIF and its frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from PIL import Image

from cl_runner.report.render.drawings import Drawing
from cl_runner.report.render.figures import (
    STYLE,
    colours_of,
    draw_data,
    in_pieces,
    limits,
    plain,
    styled,
)
from cl_runner.run_folder.read import Arrays

NAME = "animation"
FRAMES = 100
MILLISECONDS = 60  # per frame
DOTS = 150  # per inch of the pictures
CAPTION = (
    "The fit while the tasks are learned one after another, first seed. The line has the colour of "
    "the task that is being learned."
)


def moments(panels: Mapping[str, Arrays], count: int) -> list[int]:
    """The evaluations that are shown: `count`, evenly spaced over those that all runs have."""
    length = min(len(arrays["fits"]) for arrays in panels.values())
    numbers: list[int] = np.linspace(0, length - 1, count).round().astype(int).tolist()
    return numbers


@styled
def moving(panels: Mapping[str, Arrays]) -> Drawing:
    """A figure with the lines of all frames, of which the page shows one at a time. The lines of a
    frame have the ids `frame-NUMBER-PANEL`, after `last-` in the last one. Each run has a panel;
    they are side by side."""
    width = min(5.5, 11.4 / len(panels))
    figure = Figure(figsize=(width * len(panels) + 0.4, 3.6), layout="constrained")
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for place, (axes, (label, arrays)) in enumerate(zip(grid, panels.items(), strict=True)):
        draw_data(axes, arrays)
        axes.set(ylim=limits(arrays), xlabel="x", title=plain(label))
        for number, moment in enumerate(moments(panels, FRAMES)):
            colour = colours_of(arrays)[int(arrays["fits_in_task"][moment])]
            gid = f"{'last-' * (number == FRAMES - 1)}frame-{number}-{place}"
            axes.plot(*in_pieces(arrays, arrays["fits"][moment]), color=colour, linewidth=2.2,
                      linestyle="-", marker="", gid=gid)  # fmt: skip
    handles = grid[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=8)
    return Drawing(NAME, CAPTION, figure)


def _still(axes: Axes, arrays: Arrays) -> tuple[Axes, Line2D, Text]:
    """Draw what does not move; returns what does."""
    draw_data(axes, arrays)
    axes.set(ylim=limits(arrays), xlabel="x")
    (line,) = axes.plot([], [], linewidth=2.2, linestyle="-", marker="", animated=True)
    return axes, line, axes.set_title("space for the title", animated=True)


def frames(panels: Mapping[str, Arrays], count: int) -> Iterator[Image.Image]:
    """The same as `count` pictures. The figure is drawn once; each frame redraws only the line of
    the fit and the title."""
    with matplotlib.rc_context(fname=STYLE):
        size = 3.1 * len(panels) + 0.4, 2.7
        figure = Figure(figsize=size, dpi=DOTS, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        drawn = [_still(axes, arrays) for axes, arrays in zip(grid, panels.values(), strict=True)]
        canvas.draw()
        still = canvas.copy_from_bbox(figure.bbox)
        for moment in moments(panels, count):
            canvas.restore_region(still)
            for (axes, line, title), (label, arrays) in zip(drawn, panels.items(), strict=True):
                task = int(arrays["fits_in_task"][moment])
                line.set_data(*in_pieces(arrays, arrays["fits"][moment]))
                line.set_color(colours_of(arrays)[task])
                title.set_text(f"{plain(label)}: task {task + 1}")
                axes.draw_artist(line)
                axes.draw_artist(title)
            yield Image.fromarray(np.asarray(canvas.buffer_rgba()).copy()).convert("RGB")


def save(panels: Mapping[str, Arrays], folder: Path) -> list[Path]:
    """Write `animation.gif`, which pauses on its last frame, and `animation/000.png` and so on."""
    (folder / NAME).mkdir(parents=True, exist_ok=True)
    pictures = list(frames(panels, FRAMES))
    # One palette, from the first and last frame, so that colours stay the same in every frame.
    sample = Image.new("RGB", (pictures[0].width, 2 * pictures[0].height))
    sample.paste(pictures[0])
    sample.paste(pictures[-1], (0, pictures[0].height))
    palette = sample.quantize(48)
    flat = [p.quantize(palette=palette, dither=Image.Dither.NONE) for p in pictures]
    for number, one in enumerate(flat):
        one.save(folder / NAME / f"{number:03}.png")
    durations = [MILLISECONDS] * (len(flat) - 1) + [2000]
    gif = folder / f"{NAME}.gif"
    flat[0].save(gif, save_all=True, append_images=flat[1:], duration=durations, loop=0)
    return [gif]
