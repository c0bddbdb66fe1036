"""Runs in order: a section is of one stream, a group in it of one setting and several seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cl_runner.measures import MEASURES, Measure
from cl_runner.metrics import METRICS, Metric
from cl_runner.report.compare.runs import Run
from cl_runner.report.compare.significance import Spread, spread

Settings = Mapping[str, Any]
PARTS = ("strategy", "model", "optimizer")
"""What a run chooses by name, each with settings of its own."""


@dataclass
class Group:
    """Runs that differ in their seed alone."""

    runs: list[Run]
    varied: dict[str, Any] = field(default_factory=dict)  # in which groups of the section differ
    label: str = ""
    _spreads: dict[str, Spread] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        return self.runs[0].settings

    @cached_property
    def options(self) -> dict[str, str]:
        """What each part is called, by the run that knows best."""
        known = sorted(self.runs, key=lambda run: (not run.complete, not run.names))
        return {part: name for part in PARTS if (name := known[0].option(part))}

    @property
    def strategy(self) -> str:
        return self.options.get("strategy", "not known")

    @cached_property
    def complete(self) -> list[Run]:
        """By seed; of several runs with the same seed the first."""
        by_seed: dict[Any, Run] = {}
        for run in self.runs:
            if run.complete:
                by_seed.setdefault(run.seed, run)
        return [by_seed[seed] for seed in sorted(by_seed, key=str)]

    @cached_property
    def contradicted(self) -> list[Run]:
        """Runs that do not count, as one with their seed does, and whose accuracies or errors are
        others than its."""
        first = {run.seed: run.results for run in self.complete}
        return [
            run
            for run in self.runs
            if run.complete
            and (run.results.accuracy, run.results.mse)
            != (first[run.seed].accuracy, first[run.seed].mse)
        ]

    @cached_property
    def unfinished(self) -> list[Run]:
        return [run for run in self.runs if not run.complete]

    def by_seed(self, metric: Metric) -> dict[Any, float]:
        """The values of a metric, those that are not null."""
        values = {run.seed: run.value(metric) for run in self.complete}
        return {seed: value for seed, value in values.items() if value is not None}

    def spread(self, metric: Metric) -> Spread:
        if metric.name not in self._spreads:
            self._spreads[metric.name] = spread(list(self.by_seed(metric).values()))
        return self._spreads[metric.name]

    @cached_property
    def validation(self) -> Spread:
        values = [run.results.validation_mean for run in self.complete]
        return spread([value for value in values if value is not None])


@dataclass(frozen=True)
class Section:
    """Runs on one stream of tasks: what can be compared."""

    title: str
    groups: list[Group]

    @cached_property
    def measured(self) -> list[Group]:
        """The groups with a complete run."""
        return [group for group in self.groups if group.complete]

    @property
    def tasks(self) -> int:
        return len(self.measured[0].complete[0].results.tasks) if self.measured else 0

    @cached_property
    def measure(self) -> Measure:
        """What its runs measure; accuracy if none is complete."""
        complete = [run for group in self.measured for run in group.complete]
        return complete[0].results.measure if complete else MEASURES["accuracy"]

    @property
    def metric(self) -> Metric:
        """The one that strategies are ranked by."""
        return METRICS[self.measure.headline[0]]

    @property
    def metrics(self) -> list[Metric]:
        """Those that some run has."""
        return [metric for metric in METRICS.values()
                if any(group.spread(metric).n for group in self.measured)]  # fmt: skip

    @property
    def varied(self) -> list[str]:
        """The settings in which groups differ."""
        return list(dict.fromkeys(key for group in self.groups for key in group.varied))

    def best_first(self, groups: Iterable[Group]) -> list[Group]:
        """By the mean of the section's metric."""
        gain = self.metric.gain
        return sorted(groups, key=lambda g: (-gain(g.spread(self.metric).mean or 0), g.label))

    def eligible(self, groups: Sequence[Group]) -> list[Group]:
        """Those to choose among: with validation data, and of these with the most seeds."""
        most = max((group.validation.n for group in groups), default=0)
        return [group for group in groups if 0 < most == group.validation.n]

    def chosen(self, groups: Sequence[Group]) -> Group | None:
        """The eligible group that is best on validation data; None where no run has such data."""
        return min(
            self.eligible(groups),
            key=lambda g: (-self.measure.gain(g.validation.mean or 0), g.label),
            default=None,
        )


def shown(value: Any) -> str:
    """A setting as people write it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(map(shown, value))}]"
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value)
