"""The results of a sweep as it ends: mean ± standard deviation over seeds of each setting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cl_runner.config.overrides import last_part
from cl_runner.jobs.job import Job
from cl_runner.metrics import METRICS, Metric
from cl_runner.report.compare.groups import Group, Section
from cl_runner.report.compare.runs import read
from cl_runner.report.compare.sorting import sections
from cl_runner.report.compare.values import shown
from cl_runner.text import aligned


def means(folder: Path, jobs: Sequence[Job]) -> list[str]:
    """A table for each stream of tasks on which a job is complete, the best setting first."""
    folders = {job.folder for job in jobs}
    runs = [run for run in read([folder]) if run.folder in folders]
    lines = []
    for section in sections(runs):
        if section.measured:
            several = any(len(group.complete) > 1 for group in section.measured)
            what = ": mean ± standard deviation over seeds" if several else ""
            lines += [section.title + what, _table(section), ""]
    return lines


def _table(section: Section) -> str:
    metrics = [METRICS[name] for name in section.measure.headline[:2]]
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
    return aligned(["strategy", *keys, "seeds", *(metric.label for metric in metrics)], rows)


def _mean(group: Group, metric: Metric) -> str:
    spread, text = group.spread(metric), metric.unit.text
    return text(spread.mean) + ("" if spread.deviation is None else f" ± {text(spread.deviation)}")
