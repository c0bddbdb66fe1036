"""Which settings a sweep varies, and how much the metric changes with each."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from cl_runner.metrics import Metric
from cl_runner.report.compare.groups import Group, Section
from cl_runner.report.compare.values import in_brief, in_order, shown


def by_strategy(section: Section) -> dict[str, list[Group]]:
    groups: dict[str, list[Group]] = {}
    for group in section.measured:
        groups.setdefault(group.strategy, []).append(group)
    return groups


def swept(groups: Sequence[Group]) -> list[str]:
    """The settings that differ between these groups."""
    keys = dict.fromkeys(key for group in groups for key in group.varied)
    return [key for key in keys if len({shown(g.varied.get(key)) for g in groups}) > 1]


def values_of(groups: Sequence[Group], key: str) -> list[Any]:
    """The values of a setting, in order: numbers by size, then everything else."""
    return sorted({shown(v): v for v in (g.varied.get(key) for g in groups)}.values(), key=in_order)


def mean_by_value(groups: Sequence[Group], key: str, metric: Metric) -> dict[str, float]:
    """For each value of the setting, in order: the mean of the metric over the groups with it."""
    ordered = sorted(groups, key=lambda g: in_order(g.varied.get(key)))
    names = in_brief(group.varied.get(key) for group in groups)
    means: dict[str, list[float]] = {}
    for group in ordered:
        mean = group.spread(metric).mean
        if mean is not None:
            means.setdefault(names[shown(group.varied.get(key))], []).append(mean)
    return {value: fmean(of_groups) for value, of_groups in means.items()}


def seed_deviation(groups: Sequence[Group], metric: Metric) -> float | None:
    """The standard deviation over seeds: the root of the mean variance of groups with several."""
    deviations = [d for group in groups if (d := group.spread(metric).deviation) is not None]
    return fmean(d**2 for d in deviations) ** 0.5 if deviations else None
