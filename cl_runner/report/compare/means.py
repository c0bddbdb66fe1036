"""The means of some runs in brief: mean ± standard deviation over seeds of each setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cl_runner.config.overrides import last_part
from cl_runner.metrics import METRICS, Metric
from cl_runner.report.compare.groups import Group, Section
from cl_runner.report.compare.runs import Run
from cl_runner.report.compare.sorting import sections
from cl_runner.report.compare.values import shown
from cl_runner.text import aligned


@dataclass(frozen=True)
class Means:
    """Those of the runs on one stream of tasks, a row for each setting, the best first."""

    title: str
    columns: list[str]
    rows: list[list[str]]


def means(runs: Sequence[Run]) -> list[Means]:
    """One for each stream of tasks on which a run is complete."""
    return [_of(section) for section in sections(runs) if section.measured]


def as_text(every: Sequence[Means]) -> list[str]:
    """The lines for a terminal, with an empty one after each table."""
    return [part for each in every for part in (each.title, aligned(each.columns, each.rows), "")]


def _of(section: Section) -> Means:
    metrics = [METRICS[name] for name in section.measure.headline[:2]]
    several = any(len(group.complete) > 1 for group in section.measured)
    rows = [
        [
            group.strategy,
            *(shown(group.varied[key]) if key in group.varied else "–" for key in section.varied),
            str(len(group.complete)),
            *(_mean(group, metric) for metric in metrics),
        ]
        for group in section.best_first(section.measured)
    ]
    keys = map(last_part, section.varied)
    columns = ["strategy", *keys, "seeds", *(metric.label for metric in metrics)]
    what = ": mean ± standard deviation over seeds" if several else ""
    return Means(section.title + what, columns, rows)


def _mean(group: Group, metric: Metric) -> str:
    spread, text = group.spread(metric), metric.unit.text
    return text(spread.mean) + ("" if spread.deviation is None else f" ± {text(spread.deviation)}")
