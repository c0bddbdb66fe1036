"""Figures of a sweep: the effect of each setting, and what accuracy costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
from cl_runner.report.compare.values import in_brief, in_order, is_number, shown
from cl_runner.report.compare.varying import by_strategy, swept, values_of
from cl_runner.report.render import heat_map
from cl_runner.report.render.figures import MOST_LINES, plain, styled
from cl_runner.report.render.limits import limit_percent
from cl_runner.report.render.looks import Looks
from cl_runner.report.render.strategy_figures import SEED


@dataclass(frozen=True)
class Effect:
    """A figure of what one or two settings of a strategy do; hover as in `Drawing`."""

    strategy: str
    keys: Sequence[str]
    caption: str
    figure: Figure
    hover: Mapping[str, str] = field(default_factory=dict)


def of_settings(section: Section, looks: Looks) -> Iterator[Effect]:
    """For each strategy a heat map of its two swept settings; if there are not two, or if they make
    no grid, a figure for each."""
    for strategy, groups in by_strategy(section).items():
        keys = swept(groups)
        if len(keys) == 2 and heat_map.is_grid(groups, *keys):
            figure, hover = heat_map.heat_map(section, groups, *keys)
            yield Effect(strategy, keys, heat_map.caption(section, groups, *keys), figure, hover)
            continue
        for key in keys:
            others = [other for other in keys if other != key]
            figure = sensitivity(section, groups, looks, key, *others)
            words = (
                f"The {section.metric.title} for each value of {key}, on test data: mean over "
                "seeds with its 95 % interval. Small dots are seeds."
            )
            if others:
                words += " Other settings are as in the chosen or best one, see the title."
            yield Effect(strategy, [key], words, figure)


MOST_TICKS, LONGEST_TICK = 8, 6
"""Up to so many values, each with so many characters, have a tick of their own."""


@styled
def sensitivity(
    section: Section, groups: Sequence[Group], looks: Looks, key: str, *others: str
) -> Figure:
    """The metric against the values of one setting: the mean, its 95 % interval and each seed. Of
    other swept settings those of `best_line`."""
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    values = values_of(groups, key)
    places = _places(axes, values)
    ((held, ordered),) = best_line(section, groups, key, *others).items()
    x = [places[shown(group.varied.get(key))] for group in ordered]
    if all(map(_is_finite, values)):  # there is nothing between names
        line = looks.of_strategy(groups[0].strategy)
        axes.plot(x, _means(section, ordered), color=line.colour, linestyle="-", marker="")
    for place, mean, group in zip(x, _means(section, ordered), ordered, strict=True):
        look, spread = looks.of(group.label), group.spread(section.metric)
        factor = section.metric.unit.factor
        if spread.low is not None and spread.high is not None:
            reach = [[mean - factor * spread.low], [factor * spread.high - mean]]
            axes.errorbar(place, mean, yerr=reach, color=look.colour, linestyle="", marker="",
                          capsize=3, elinewidth=1)  # fmt: skip
        seeds = [factor * value for value in group.by_seed(section.metric).values()]
        axes.plot([place] * len(seeds), seeds, color=look.colour, **SEED)
        axes.plot(place, mean, **look.point, markersize=6)
    axes.set(xlabel=plain(key), ylabel=section.metric.label)
    axes.set_title(plain(", ".join(filter(None, [groups[0].strategy, held]))))
    if section.metric.unit.logarithmic:
        _log_where_spanned(axes.set_yscale, _means(section, groups))
    else:
        limit_percent([axes])
    return figure


def lines(
    section: Section, groups: Sequence[Group], key: str, *others: str
) -> dict[str, list[Group]]:
    """Label → groups that differ only in `key`, in the order of its values. If there is one other
    swept setting, a line for each of its values, if these are not too many; otherwise the best
    line."""
    ordered = sorted(groups, key=lambda g: in_order(g.varied.get(key)))
    if len(others) == 1:
        (other,) = others
        names = in_brief(values_of(groups, other))
        if len(names) <= MOST_LINES:
            return {
                f"{last_part(other)} {name}": [
                    g for g in ordered if shown(g.varied.get(other)) == value
                ]
                for value, name in names.items()
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
    names = {o: in_brief(g.varied.get(o) for g in groups)[v] for o, v in fixed.items()}
    return {", ".join(f"{last_part(o)} {name}" for o, name in names.items()): members}


def _places(axes: Axes, values: Sequence[Any]) -> dict[str, float]:
    """The position of each value on the x axis: numbers by value, anything else side by side."""
    names = [shown(value) for value in values]
    if not all(map(_is_finite, values)):
        axes.set_xticks(range(len(values)), [plain(name) for name in names])
        return dict(zip(names, map(float, range(len(values))), strict=True))
    _log_where_spanned(axes.set_xscale, values)
    if len(names) <= MOST_TICKS and max(map(len, names)) <= LONGEST_TICK:
        axes.set_xticks([float(v) for v in values], names)
    elif axes.get_xscale() == "log":
        axes.set_xticks(ticks := _log_ticks(min(values), max(values)), [f"{x:g}" for x in ticks])
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
def costs(section: Section, strategies: Mapping[str, Sequence[Group]], looks: Looks) -> Figure:
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
        for strategy, groups in strategies.items():
            points = zip(_per_group(measure, groups), _means(section, groups), groups, strict=True)
            for x, y, group in points:
                if measure is _memory and group.is_upper_bound:
                    continue  # it stores nothing, but it is given all samples
                axes.plot(x, y, clip_on=False, **looks.of(group.label).point)
            axes.plot([], [], label=plain(strategy), **looks.of_strategy(strategy).point)
        axes.set_xlabel(title)
        if axes.get_xscale() != "log":
            axes.set_xlim(left=0)
        if section.metric.unit.logarithmic:
            _log_where_spanned(axes.set_yscale, _means(section, drawn))
    if not section.metric.unit.logarithmic:
        limit_percent(panels)
    panels[0].set_ylabel(section.metric.label)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper")
    return figure


def _axis_of_bytes(axes: Axes, values: Sequence[float]) -> None:
    """A log axis has one label per decade, or three if it covers less than two decades."""
    _log_where_spanned(axes.set_xscale, values)
    if axes.get_xscale() != "linear":
        low, high = min(value for value in values if value > 0), max(values)
        axes.set_xticks([0.0] * (min(values) == 0) + _log_ticks(low, high))
    axes.xaxis.set_major_formatter(EngFormatter("B"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _log_ticks(low: float, high: float) -> list[float]:
    """One per decade, or three if there are less than two decades."""
    decades = range(floor(np.log10(low)), ceil(np.log10(high)) + 1)
    steps = (1, 2, 5) if high < 100 * low else (1,)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    return [tick for tick in ticks if low <= tick <= high]


def _per_group(measure: Callable[[Run], float], groups: Sequence[Group]) -> list[float]:
    return [fmean(measure(run) for run in group.complete) for group in groups]


def _memory(run: Run) -> float:
    return run.results.cost.state_bytes.get("memory", 0)


def _seconds(run: Run) -> float:
    return run.results.cost.seconds
