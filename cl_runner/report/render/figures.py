"""Figures of one run or several. Each function draws one figure from results or predictions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from PIL import Image

from cl_runner.report.render.colours import ink_on
from cl_runner.report.render.limits import limit_percent
from cl_runner.run_folder.outcome import Results
from cl_runner.run_folder.read import Arrays

STYLE = Path(__file__).with_name("style.mplstyle")
styled = matplotlib.rc_context(fname=STYLE)
"""Decorates a function that draws, so that it draws in the style that all figures share."""
TASK_SCALE = LinearSegmentedColormap.from_list(
    "tasks", ["#1f2a8f", "#7d22a8", "#c01f62", "#dd5726", "#b88000"]
)
"""From blue to ochre, each dark enough for a white page."""
MOST_LINES = 8
"""The eye can tell so many lines apart. Of more, the best are drawn, as the caption says."""
_drawn: WeakKeyDictionary[Figure, bytes] = WeakKeyDictionary()


@styled
def accuracy_matrix(results: Results) -> Figure:
    """The matrix of accuracies in percent, or of errors, as a heat map with numbers."""
    unit = results.measure.unit
    R = np.array(results.matrix, dtype=float)
    figure = Figure(figsize=(1.9 + 0.7 * len(R), 1.2 + 0.6 * len(R)), layout="constrained")
    axes = figure.subplots()
    shown = np.log10(np.maximum(R, 1e-12)) if unit.logarithmic else unit.factor * R
    image = axes.imshow(shown, cmap="viridis" if results.measure.more_is_better else "viridis_r")
    if not unit.logarithmic:
        image.set_clim(0, unit.factor)
    numbers = [f"{k + 1}" for k in range(len(R))]
    axes.set_xticks(range(len(R)), numbers)
    axes.set_yticks(range(len(R)), numbers)
    axes.grid(False)
    axes.set(xlabel="measured on task", ylabel="after learning task", title=plain(results.strategy))
    for t, k in zip(*np.nonzero(~np.isnan(R)), strict=True):
        ink = ink_on(image.cmap(image.norm(shown[t, k])))
        number = (
            f"{R[t, k]:.2g}" if unit.logarithmic else unit.text(R[t, k])
        )  # short: space is tight
        axes.text(k, t, number, ha="center", va="center", color=ink)
    label = results.measure.label
    figure.colorbar(image, ax=axes, label=f"log₁₀ of the {label}" if unit.logarithmic else label)
    return figure


@styled
def over_training(results: Results) -> Figure:
    """The accuracy or error on each task at every evaluation, with marks where tasks begin."""
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    _draw_over_training(axes, results)
    axes.set(xlabel="evaluation (dotted: the next task begins)", ylabel=results.measure.label)
    axes.legend()
    return figure


def _draw_over_training(axes: Axes, results: Results) -> None:
    unit = results.measure.unit
    rows = results.curve or []
    switches = [n for n in range(1, len(rows)) if rows[n][0] != rows[n - 1][0]]
    for task, colour in enumerate(task_colours(len(results.tasks))):
        points = [(n + 1, row[task]) for n, (_, row) in enumerate(rows) if len(row) > task]
        x, y = np.array(points).T
        every = max(1, len(x) // 8)
        axes.plot(x, unit.factor * y, label=f"task {task + 1}", color=colour, markevery=every)
    for switch in switches:
        axes.axvline(switch + 0.5, color="black", linewidth=0.8, linestyle=(0, (1, 2)))
    if unit.logarithmic:
        axes.set_yscale("log")
    else:
        limit_percent([axes])


@styled
def fits(panels: Mapping[str, Arrays]) -> Figure:
    """The regressor after each task, with the data and the true function; one panel per run."""
    figure, grid = _grid(len(panels))
    for axes, (label, arrays) in zip(grid, panels.items(), strict=True):
        draw_data(axes, arrays)
        for task, colour in enumerate(colours_of(arrays)):
            last = np.nonzero(arrays["fits_in_task"] == task)[0][-1]
            (line,) = axes.plot(*in_pieces(arrays, arrays["fits"][last]), color=colour)
            dashes = "--" if task == 0 else "-"
            line.set(marker="", linewidth=1.8, linestyle=dashes, label=f"fit after task {task + 1}")
        axes.set(title=plain(label), ylim=limits(arrays))
    columns = max(1, int(figure.get_figwidth() / 1.4))  # an entry is 1.4 inches wide
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=columns)
    return figure


@styled
def errors_over_epochs(panels: Mapping[str, Results]) -> Figure:
    """The error on each task over the epochs of all tasks; one panel per run."""
    figure, grid = _grid(len(panels))
    for axes, (label, results) in zip(grid, panels.items(), strict=True):
        _draw_over_training(axes, results)
        axes.set_title(plain(label))
    figure.supxlabel("epoch (dotted: the next task begins)", fontsize=10)
    figure.supylabel("mean squared error", fontsize=10)
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return figure


def _grid(panels: int) -> tuple[Figure, list[Axes]]:
    """A figure with this many panels, three per row, all on the same scale."""
    rows, columns = -(-panels // 3), min(3, panels)
    figure = Figure(figsize=(2.9 * columns, 2.4 * rows + 0.5), layout="constrained")
    grid = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
    for empty in grid[panels:]:
        empty.set_axis_off()
    return figure, grid[:panels]


def draw_data(axes: Axes, arrays: Arrays) -> None:
    """Draw training samples and the true function."""
    for task, colour in enumerate(colours_of(arrays)):
        mine = arrays["training_tasks"] == task
        samples = arrays["training_inputs"][mine], arrays["training_targets"][mine]
        (points,) = axes.plot(*samples, color=colour, label=f"data of task {task + 1}")
        points.set(linestyle="", marker=".", markersize=2.5, alpha=0.6)
    (line,) = axes.plot(*in_pieces(arrays, arrays["targets"]), label="true function")
    line.set(color="#7F7F7F", linestyle="-", linewidth=1, marker="")


def colours_of(arrays: Arrays) -> list[str]:
    """Of the tasks of a regression."""
    return task_colours(int(arrays["tasks"].max()) + 1)


def in_pieces(arrays: Arrays, values: Any) -> tuple[Any, Any]:
    """x and y of a line, with a gap between the intervals of two tasks."""
    ends = np.nonzero(np.diff(arrays["tasks"]))[0] + 1
    return np.insert(arrays["inputs"], ends, np.nan), np.insert(values, ends, np.nan)


def limits(arrays: Arrays) -> tuple[float, float]:
    """The limits of the vertical axis: the data and some space around it."""
    low, high = arrays["training_targets"].min(), arrays["training_targets"].max()
    room = 0.35 * (high - low)
    return float(low - room), float(high + room)


def plain(text: str) -> str:
    """A label that matplotlib shows literally, not as a formula, and that fits in a legend."""
    printed = "".join(c if c.isprintable() else " " for c in text)
    one_line = " ".join(printed.split()).lstrip("_") or "–"
    short = one_line if len(one_line) <= 60 else f"{one_line[:59]}…"
    return short.replace("$", r"\$")


@cache
def task_colours(tasks: int) -> list[str]:
    """The colours of the tasks of a stream, on white: along a scale, as their order means
    something."""
    return [to_hex(TASK_SCALE(share)) for share in np.linspace(0, 1, tasks)]


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write the figure as SVG, PDF and PNG. The same figure always gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{name}{suffix}" for suffix in (".svg", ".pdf", ".png")]
    files[0].write_bytes(svg(figure))
    figure.set_layout_engine("none")  # it keeps the layout that it has now
    with matplotlib.rc_context(fname=STYLE):
        figure.savefig(files[1], metadata={"CreationDate": None})
        figure.savefig(files[2], dpi=200, metadata={"Software": None})
    return files


def svg(figure: Figure) -> bytes:
    """The figure as SVG, its text as text; the same figure always gives the same bytes. A page and
    a file beside it have the same drawing, made once: it must not change in between."""
    if figure not in _drawn:
        buffer = BytesIO()
        with matplotlib.rc_context(fname=STYLE):
            figure.savefig(buffer, format="svg", metadata={"Date": None})
        _drawn[figure] = buffer.getvalue()
    return _drawn[figure]


def picture(figure: Figure) -> Image.Image:
    """A figure as pixels."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return Image.open(buffer)
