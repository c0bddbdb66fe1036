"""Figures that compare strategies: accuracy after each task, and new tasks against old ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cl_runner.report.render.figures import plain, styled
from cl_runner.report.render.limits import limit_percent, percent_limits
from cl_runner.report.render.looks import DASHES, Looks
from cl_runner.report.render.names_of_points import Name, write_names
from cl_runner.run_folder.outcome import Results

SEED: dict[str, Any] = {"linestyle": "", "marker": ".", "markersize": 3.5, "alpha": 0.5}
"""How the value of one seed looks, beside the colour."""
PANELS = "all tasks so far", "the first task"


@dataclass(frozen=True)
class Point:
    """A setting: its label, its name in the figure, and (old, new) of each seed in percent."""

    label: str
    name: str
    seeds: Sequence[tuple[float, float]]

    @property
    def mean(self) -> tuple[float, float]:
        return fmean(old for old, _ in self.seeds), fmean(new for _, new in self.seeds)


@styled
def over_tasks(runs: Mapping[str, Sequence[Results]], looks: Looks) -> Figure:
    """The accuracy after each task, on all tasks so far and on the first. Lines are means over
    seeds, points are seeds."""
    figure = Figure(figsize=(8.4, 3.5), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for label, seeds in runs.items():
        look = looks.of(label)
        for axes, rows in zip(panels, _after_each_task(seeds), strict=True):
            tasks = np.arange(1, rows.shape[1] + 1)
            axes.plot(tasks, rows.mean(0), label=plain(label), **look.line)
            for row in rows:
                axes.plot(tasks, row, color=look.colour, **SEED)
    for axes, what in zip(panels, PANELS, strict=True):
        axes.set(title=f"On {what}", xlabel="after task")
        axes.locator_params(axis="x", integer=True, nbins=10)
    panels[0].set_ylabel("accuracy in %")
    limit_percent(panels)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _after_each_task(seeds: Sequence[Results]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Accuracies in percent, [seeds, tasks]: the mean over all tasks so far, and of the first."""
    so_far = [[[a for a in row if a is not None] for row in one.matrix] for one in seeds]
    means = np.array([[100 * fmean(row) for row in rows] for rows in so_far])
    first = np.array([[100 * row[0] for row in rows] for rows in so_far])
    return means, first


@styled
def trade_off(
    curves: Mapping[str, Sequence[Point]],
    looks: Looks,
    old: str = "old task",
    new: str = "new task",
) -> Figure:
    """New against old tasks, one curve for each label. Large points are means of a setting over
    seeds, small points are seeds. Settings of a curve are named where there is room."""
    figure = Figure(figsize=(8.4, 4.4), layout="constrained")
    axes, names, drawn = figure.subplots(), list[Name](), 0
    for label, points in curves.items():
        middle = looks.of(points[len(points) // 2].label)
        means = [point.mean for point in points]
        if len(points) > 1:
            middle = replace(middle, dashes=DASHES[drawn % len(DASHES)])
            drawn += 1
            axes.plot(*np.transpose(means), **{**middle.line, "marker": ""})
        for point in points:
            look = looks.of(point.label)
            axes.plot(*np.transpose(point.seeds), color=look.colour, **SEED)
            axes.plot(*point.mean, **look.point, markersize=7)
            names.append(Name(point.name if len(points) > 1 else "", point.mean, look.colour))
        shown = middle.line if len(points) > 1 else middle.point
        axes.plot([], [], label=plain(label), markersize=7, **shown)
    axes.set(xlabel=f"{plain(old)}: accuracy in %", ylabel=f"{plain(new)}: accuracy in %")
    limit_percent([axes], "x")
    limit_percent([axes], "y")
    figure.legend(loc="outside right upper")
    write_names(axes, names)
    return figure


def same_over_tasks(runs: Mapping[str, Sequence[Results]]) -> str:
    """What to say of lines of `over_tasks` that lie on each other; empty if there are none."""
    means = {label: np.stack(_after_each_task(seeds)).mean(1) for label, seeds in runs.items()}
    return _said(means, "lines")


def same_trade_off(curves: Mapping[str, Sequence[Point]]) -> str:
    """The same for the means of `trade_off`."""
    means = {label: np.array([p.mean for p in points]) for label, points in curves.items()}
    return _said(means, "points")


def _said(drawn: Mapping[str, NDArray[np.float64]], what: str) -> str:
    """drawn: the places of each label's line or points, in percent. They coincide if they are
    nowhere further apart than a hundredth of what the axis shows, which is the width of a line."""
    low, high = percent_limits(value for places in drawn.values() for value in places.flat)
    sentences = []
    left = dict(drawn)
    while left:
        places = next(iter(left.values()))
        apart = {
            label: float(np.abs(other - places).max())
            for label, other in left.items()
            if other.shape == places.shape
        }
        alike = {label: d for label, d in apart.items() if d <= (high - low) / 100}
        if len(alike) > 1:
            most = f"{max(alike.values()):.1f}"
            within = "" if most == "0.0" else f" within {most} points"
            sentences.append(f" These {what} coincide{within}: {'; '.join(alike)}.")
        left = {label: other for label, other in left.items() if label not in alike}
    return "".join(sentences)
