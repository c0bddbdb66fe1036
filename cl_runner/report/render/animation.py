"""Animation of a regression: how the fit moves while a network learns task after task.

The figure is drawn once; for each frame only the line of the fit and the title are drawn anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from cl_runner.report.render.figures import STYLE, draw_data, in_pieces, limits, plain, task_colour
from cl_runner.run_folder.read import Arrays

NAME = "animation"
FRAMES = 100
MILLISECONDS = 60  # a frame


def frames(panels: Mapping[str, Arrays], count: int) -> Iterator[Image.Image]:
    """`count` pictures, evenly spaced over the evaluations; a panel a run, side by side."""
    with matplotlib.rc_context(fname=STYLE):
        figure = Figure(figsize=(3.1 * len(panels) + 0.4, 2.7), layout="constrained")
        canvas = FigureCanvasAgg(figure)
        grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        moving = []
        for axes, arrays in zip(grid, panels.values(), strict=True):
            draw_data(axes, arrays)
            axes.set(ylim=limits(arrays), xlabel="x")
            (line,) = axes.plot([], [], linewidth=2.2, linestyle="-", marker="", animated=True)
            title = axes.set_title("room for it", animated=True)
            moving.append((line, title))
        canvas.draw()
        still = canvas.copy_from_bbox(figure.bbox)
        length = min(len(arrays["fits"]) for arrays in panels.values())
        for moment in np.linspace(0, length - 1, count).round().astype(int):
            canvas.restore_region(still)
            for axes, (line, title), (label, arrays) in zip(
                grid, moving, panels.items(), strict=True
            ):
                task = int(arrays["fits_in_task"][moment])
                line.set_data(*in_pieces(arrays, arrays["fits"][moment]))
                line.set_color(task_colour(task))
                title.set_text(f"{plain(label)}: task {task + 1}")
                axes.draw_artist(line)
                axes.draw_artist(title)
            yield Image.fromarray(np.asarray(canvas.buffer_rgba()).copy()).convert("RGB")


def save(panels: Mapping[str, Arrays], folder: Path) -> list[Path]:
    """`animation.gif`, whose last frame stays, and its frames as `animation/000.png`, …"""
    (folder / NAME).mkdir(parents=True, exist_ok=True)
    pictures = list(frames(panels, FRAMES))
    # One palette for all, of the last frame and the first, so that what is still stays the same.
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
