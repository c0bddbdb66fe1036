"""Figures of a sweep: what each setting does, and what accuracy costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from cl_runner.report.figures import plain, styled, styles
from cl_runner.report.groups import Group, Section, shown
from cl_runner.report.runs import Run
from cl_runner.report.tables import by_strategy, in_order, swept

MOST_LINES = 8


def of_settings(section: Section) -> Iterator[tuple[str, Figure]]:
    """One figure for each swept setting of each strategy."""
    for strategy, groups in by_strategy(section).items():
        keys = swept(groups)
        for key in keys:
            others = [other for other in keys if other != key]
            yield f"sensitivity_{strategy}_{key}", sensitivity(section, groups, key, others)


@styled
def sensitivity(
    section: Section, groups: Sequence[Group], key: str, others: Sequence[str]
) -> Figure:
    """The metric against the values of one setting, with 95 % intervals over seeds. A line for each
    value of the other swept setting; where there are several or too many, of the best group's."""
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    values = sorted({shown(v): v for v in (g.varied.get(key) for g in groups)}.values(),
                    key=in_order)  # fmt: skip
    places = _places(axes, values)
    drawn = lines(section, groups, key, others)
    for style, (label, ordered) in zip(styles(), drawn.items(), strict=False):
        spreads = [group.spread(section.metric) for group in ordered]
        x = [places[shown(group.varied.get(key))] for group in ordered]
        scale = 1 if section.regression else 100
        means = [scale * (s.mean or 0) for s in spreads]
        reach = [
            scale * ((s.high or 0) - (s.mean or 0)) if s.high is not None else 0 for s in spreads
        ]
        axes.errorbar(
            x, means, yerr=reach, capsize=2.5, elinewidth=0.9, label=plain(label), **style
        )
    axes.set(xlabel=plain(key), ylabel=_words(section), title=plain(groups[0].strategy))
    if section.regression:
        axes.set_yscale("log")
    if any(drawn):
        figure.legend(loc="outside right upper")
    return figure


def lines(
    section: Section, groups: Sequence[Group], key: str, others: Sequence[str]
) -> dict[str, list[Group]]:
    """Label → groups that differ in `key` alone, in the order of its values. One for each value of
    the other swept setting; where there are several or too many, those of the best group."""
    ordered = sorted(groups, key=lambda g: in_order(g.varied.get(key)))
    if len(others) == 1:
        (other,) = others
        values = sorted({shown(g.varied.get(other)): g.varied.get(other) for g in groups}.values(),
                        key=in_order)  # fmt: skip
        if len(values) <= MOST_LINES:
            return {
                f"{_last(other)} {shown(value)}": [g for g in ordered if g.varied[other] == value]
                for value in values
            }
    best = section.chosen(groups) or section.best_first(groups)[0]
    fixed = {other: shown(best.varied.get(other)) for other in others}
    members = [g for g in ordered if all(shown(g.varied.get(o)) == v for o, v in fixed.items())]
    return {", ".join(f"{_last(o)} {v}" for o, v in fixed.items()): members}


def _places(axes: Axes, values: Sequence[Any]) -> dict[str, float]:
    """Where each value is on the axis: numbers at themselves, on a log axis where they span it,
    all else side by side."""
    names = [shown(value) for value in values]
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if not numeric:
        axes.set_xticks(range(len(values)), [plain(name) for name in names])
        return dict(zip(names, map(float, range(len(values))), strict=True))
    if min(values) > 0 and max(values) / min(values) >= 8:
        axes.set_xscale("log")
    axes.set_xticks([float(v) for v in values], names)
    axes.xaxis.set_minor_formatter(NullFormatter())
    return {shown(v): float(v) for v in values}


@styled
def costs(section: Section) -> Figure:
    """The metric against seconds and, where samples are stored, their bytes; a point a group."""
    measures: list[tuple[str, Callable[[Run], float]]] = [("seconds", _seconds)]
    if any(_memory(run) > 0 for group in section.measured for run in group.complete):
        measures.append(("stored samples, bytes", _memory))
    figure = Figure(figsize=(4.2 * len(measures) + 1.6, 3.8), layout="constrained")
    panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    scale = 1 if section.regression else 100
    for axes, (title, measure) in zip(panels, measures, strict=True):
        for style, (strategy, groups) in zip(styles(), by_strategy(section).items(), strict=False):
            x = [fmean(measure(run) for run in group.complete) for group in groups]
            y = [scale * (group.spread(section.metric).mean or 0) for group in groups]
            axes.plot(x, y, label=plain(strategy), **{**style, "linestyle": ""})
        axes.set(xlabel=title, xlim=(0, None))
        if measure is _memory:
            axes.set_xscale("symlog", linthresh=1e5)
            axes.xaxis.set_major_formatter(FuncFormatter(_size))
        if section.regression:
            axes.set_yscale("log")
    panels[0].set_ylabel(_words(section))
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper")
    return figure


def _memory(run: Run) -> float:
    return float(run.results["cost"]["state_bytes"].get("memory", 0))


def _seconds(run: Run) -> float:
    return float(run.results["cost"]["seconds"])


def _size(value: float, _position: int) -> str:
    """Bytes as people say them."""
    if value < 1:
        return "0"
    unit = min(3, int(np.log10(value)) // 3)
    return f"{value / 1000**unit:g} {('B', 'kB', 'MB', 'GB')[unit]}"


def _words(section: Section) -> str:
    unit = "" if section.regression else " in %"
    return section.metric.replace("_", " ") + unit


def _last(key: str) -> str:
    return key.rpartition(".")[2]
