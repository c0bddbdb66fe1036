"""Which settings a sweep varies, and how far the metric moves with each."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

from cl_runner.metrics import Metric
from cl_runner.report.compare.groups import Group, Section, shown


def by_strategy(section: Section) -> dict[str, list[Group]]:
    found: dict[str, list[Group]] = {}
    for group in section.measured:
        found.setdefault(group.strategy, []).append(group)
    return found


def swept(groups: Sequence[Group]) -> list[str]:
    """The settings in which these groups differ among themselves."""
    keys = dict.fromkeys(key for group in groups for key in group.varied)
    return [key for key in keys if len({shown(g.varied.get(key)) for g in groups}) > 1]


def mean_by_value(groups: Sequence[Group], key: str, metric: Metric) -> dict[str, float]:
    """Value of the setting → mean of the metric over the groups with it, in the values' order."""
    ordered = sorted(groups, key=lambda g: in_order(g.varied.get(key)))
    found: dict[str, list[float]] = {}
    for group in ordered:
        mean = group.spread(metric).mean
        if mean is not None:
            found.setdefault(shown(group.varied.get(key)), []).append(mean)
    return {value: fmean(means) for value, means in found.items()}


def seed_deviation(groups: Sequence[Group], metric: Metric) -> float | None:
    """The standard deviation over seeds, averaged (as variance) over groups with several."""
    variances = [stdev(v) ** 2 for g in groups if len(v := list(g.by_seed(metric).values())) > 1]
    return fmean(variances) ** 0.5 if variances else None


def in_order(value: Any) -> tuple[int, float, str]:
    """Numbers by size, before all else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return 0, float(value), ""
    return 1, 0.0, shown(value)
