"""Animation of a regression: how the fit changes while a network learns one task after another.

The figure is drawn once; each frame redraws only the line of the fit and the title.
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
MILLISECONDS = 60  # per frame


def frames(panels: Mapping[str, Arrays], count: int) -> Iterator[Image.Image]:
    """`count` pictures, evenly spaced over the evaluations. Each run has a panel; they are side by
    side."""
    with matplotlib.rc_context(fname=STYLE):
        figure = Figure(figsize=(3.1 * len(panels) + 0.4, 2.7), layout="constrained")
        canvas = FigureCanvasAgg(figure)
        grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        moving = []
        for axes, arrays in zip(grid, panels.values(), strict=True):
            draw_data(axes, arrays)
            axes.set(ylim=limits(arrays), xlabel="x")
            (line,) = axes.plot([], [], linewidth=2.2, linestyle="-", marker="", animated=True)
            title = axes.set_title("space for the title", animated=True)
            moving.append((axes, line, title))
        canvas.draw()
        still = canvas.copy_from_bbox(figure.bbox)
        length = min(len(arrays["fits"]) for arrays in panels.values())
        for moment in np.linspace(0, length - 1, count).round().astype(int):
            canvas.restore_region(still)
            for (axes, line, title), (label, arrays) in zip(moving, panels.items(), strict=True):
                task = int(arrays["fits_in_task"][moment])
                line.set_data(*in_pieces(arrays, arrays["fits"][moment]))
                line.set_color(task_colour(task))
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
