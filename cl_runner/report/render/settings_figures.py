"""Figures of a sweep: the effect of each setting, and what accuracy costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import ceil, floor, isfinite
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullFormatter

from cl_runner.config.overrides import last_part
from cl_runner.report.compare.groups import Group, Section
from cl_runner.report.compare.runs import Run
from cl_runner.report.compare.values import in_order, is_number, shown
from cl_runner.report.compare.varying import by_strategy, swept
from cl_runner.report.render.figures import MOST_LINES, plain, styled, styles


def of_settings(section: Section) -> Iterator[tuple[str, str, Figure]]:
    """Strategy, setting and figure, for each swept setting of each strategy."""
    for strategy, groups in by_strategy(section).items():
        keys = swept(groups)
        for key in keys:
            others = [other for other in keys if other != key]
            yield strategy, key, sensitivity(section, groups, key, *others)


@styled
def sensitivity(section: Section, groups: Sequence[Group], key: str, *others: str) -> Figure:
    """The metric against the values of one setting, with 95 % intervals over seeds. The lines are
    those of `lines`."""
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    values = _values(groups, key)
    places = _places(axes, values)
    numeric = all(map(_is_finite, values))
    drawn = lines(section, groups, key, *others)
    for style, (label, ordered) in zip(styles(), drawn.items(), strict=False):
        spreads = [group.spread(section.metric) for group in ordered]
        x = [places[shown(group.varied.get(key))] for group in ordered]
        means = _means(section, ordered)
        factor = section.metric.unit.factor
        ends = [[s.mean, s.mean] if s.low is None else [s.low, s.high] for s in spreads]
        reach = np.abs(factor * np.array(ends, dtype=float).T - means)
        look = style if numeric else {**style, "linestyle": ""}  # there is nothing between names
        axes.errorbar(x, means, yerr=reach, capsize=2.5, elinewidth=0.9, label=plain(label), **look)
    axes.set(xlabel=plain(key), ylabel=section.metric.label, title=plain(groups[0].strategy))
    if section.metric.unit.logarithmic:
        _log_where_spanned(axes.set_yscale, _means(section, groups))
    if any(drawn):
        figure.legend(loc="outside right upper")
    return figure


def _values(groups: Sequence[Group], key: str) -> list[Any]:
    """The values of a setting, in order."""
    return sorted({shown(v): v for v in (g.varied.get(key) for g in groups)}.values(), key=in_order)


def lines(
    section: Section, groups: Sequence[Group], key: str, *others: str
) -> dict[str, list[Group]]:
    """Label → groups that differ only in `key`, in the order of its values. If there is one other
    swept setting, a line for each of its values, if these are not too many; otherwise the best
    line."""
    ordered = sorted(groups, key=lambda g: in_order(g.varied.get(key)))
    if len(others) == 1:
        (other,) = others
        values = _values(groups, other)
        if len(values) <= MOST_LINES:
            return {
                f"{last_part(other)} {shown(value)}": [
                    g for g in ordered if shown(g.varied.get(other)) == shown(value)
                ]
                for value in values
            }
    return best_line(section, groups, key, *others)


def best_line(
    section: Section, groups: Sequence[Group], key: str, *others: str
) -> dict[str, list[Group]]:
    """Label → groups that differ only in `key` and share all other settings with the chosen group,
    or with the best one if none was chosen."""
    ordered = sorted(groups, key=lambda g: in_order(g.varied.get(key)))
    best = section.chosen(groups) or section.best_first(groups)[0]
    fixed = {other: shown(best.varied.get(other)) for other in others}
    members = [g for g in ordered if all(shown(g.varied.get(o)) == v for o, v in fixed.items())]
    return {", ".join(f"{last_part(o)} {v}" for o, v in fixed.items()): members}


def _places(axes: Axes, values: Sequence[Any]) -> dict[str, float]:
    """The position of each value on the x axis: numbers by value, anything else side by side."""
    names = [shown(value) for value in values]
    if not all(map(_is_finite, values)):
        axes.set_xticks(range(len(values)), [plain(name) for name in names])
        return dict(zip(names, map(float, range(len(values))), strict=True))
    _log_where_spanned(axes.set_xscale, values)
    axes.set_xticks([float(v) for v in values], names)
    axes.xaxis.set_minor_formatter(NullFormatter())
    return {shown(v): float(v) for v in values}


def _log_where_spanned(set_scale: Callable[..., None], values: Sequence[float]) -> None:
    """A log axis for numbers whose range calls for one, with a place for 0 if it is among them."""
    positive = [value for value in values if value > 0]
    if not positive or min(values) < 0 or max(positive) < 8 * min(positive):
        return
    if min(values) > 0:
        set_scale("log")
    else:
        set_scale("symlog", linthresh=min(positive))


def _is_finite(value: Any) -> bool:
    return is_number(value) and isfinite(value)


def _means(section: Section, groups: Sequence[Group]) -> list[float]:
    """The mean of each group as it is drawn: accuracy in percent, or the error."""
    factor = section.metric.unit.factor
    return [factor * (group.spread(section.metric).mean or 0) for group in groups]


@styled
def costs(section: Section, strategies: Mapping[str, Sequence[Group]]) -> Figure:
    """The metric against seconds and, if samples are stored, their bytes; one point per group."""
    measures: list[tuple[str, Callable[[Run], float]]] = [("seconds", _seconds)]
    drawn = [group for groups in strategies.values() for group in groups]
    if any(_memory(run) > 0 for group in drawn for run in group.complete):
        measures.append(("stored samples, bytes", _memory))
    figure = Figure(figsize=(4.2 * len(measures) + 1.6, 3.8), layout="constrained")
    panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    for axes, (title, measure) in zip(panels, measures, strict=True):
        if measure is _memory:
            _axis_of_bytes(axes, _per_group(measure, drawn))
        for style, (strategy, groups) in zip(styles(), strategies.items(), strict=False):
            x, y = _per_group(measure, groups), _means(section, groups)
            axes.plot(x, y, label=plain(strategy), clip_on=False, **{**style, "linestyle": ""})
        axes.set_xlabel(title)
        if axes.get_xscale() != "log":
            axes.set_xlim(left=0)
        if section.metric.unit.logarithmic:
            _log_where_spanned(axes.set_yscale, _means(section, drawn))
    panels[0].set_ylabel(section.metric.label)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper")
    return figure


def _axis_of_bytes(axes: Axes, values: Sequence[float]) -> None:
    """A log axis has one label per decade, or three if it covers less than two decades."""
    _log_where_spanned(axes.set_xscale, values)
    if axes.get_xscale() != "linear":
        low, high = min(value for value in values if value > 0), max(values)
        decades = range(floor(np.log10(low)), ceil(np.log10(high)) + 1)
        steps = (1, 2, 5) if high < 100 * low else (1,)
        ticks = [step * 10.0**decade for decade in decades for step in steps]
        zero = [0.0] * (min(values) == 0)
        axes.set_xticks(zero + [tick for tick in ticks if low <= tick <= high])
    axes.xaxis.set_major_formatter(EngFormatter("B"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _per_group(measure: Callable[[Run], float], groups: Sequence[Group]) -> list[float]:
    return [fmean(measure(run) for run in group.complete) for group in groups]


def _memory(run: Run) -> float:
    return run.results.cost.state_bytes.get("memory", 0)


def _seconds(run: Run) -> float:
    return run.results.cost.seconds
