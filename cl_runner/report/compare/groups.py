"""Groups of runs with the same settings, and sections of groups on the same stream of tasks."""

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
"""What a run chooses by name. Each has settings of its own."""
UPPER_BOUND = "joint"
"""It sees all data at once: no method for learning one task after another, so it is not ranked."""


@dataclass
class Group:
    """Runs that differ only in their seed."""

    runs: list[Run]
    varied: dict[str, Any] = field(
        default_factory=dict
    )  # the settings that differ between groups of a section
    label: str = ""
    name: str | None = None  # of these runs in their suite
    _spreads: dict[str, Spread] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        return self.runs[0].settings

    @cached_property
    def options(self) -> dict[str, str]:
        """The name of each part, from the run that knows most about it."""
        known = min(self.runs, key=lambda run: (not run.complete, not run.names))
        return {part: name for part in PARTS if (name := known.option(part))}

    @property
    def strategy(self) -> str:
        return self.options.get("strategy", "not known")

    @cached_property
    def conditions(self) -> Settings:
        """All that it was trained with but the strategy: model, optimizer, epochs and the like."""
        settings = {**self.settings, **self.options}
        return {key: settings[key] for key in settings if key.partition(".")[0] != "strategy"}

    @property
    def is_upper_bound(self) -> bool:
        return self.strategy == UPPER_BOUND

    @cached_property
    def complete(self) -> list[Run]:
        """The complete runs by seed. Of several with the same seed, only the first."""
        by_seed: dict[Any, Run] = {}
        for run in self.runs:
            if run.complete:
                by_seed.setdefault(run.seed, run)
        return [by_seed[seed] for seed in sorted(by_seed, key=str)]

    @cached_property
    def contradicted(self) -> list[Run]:
        """Runs that are not counted because another has their seed, and whose accuracies or errors
        differ from that run's."""
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
        """The values of a metric; seeds without one are left out."""
        values = {run.seed: run.value(metric) for run in self.complete}
        return {seed: value for seed, value in values.items() if value is not None}

    def spread(self, metric: Metric) -> Spread:
        if metric.name not in self._spreads:
            values = list(self.by_seed(metric).values())
            unit = metric.unit
            self._spreads[metric.name] = spread(values, unit.lowest, unit.highest)
        return self._spreads[metric.name]

    @cached_property
    def validation(self) -> Spread:
        values = [run.results.validation_mean for run in self.complete]
        return spread([value for value in values if value is not None])


def ranked(groups: Sequence[Group]) -> list[Group]:
    """The groups without upper bounds; all, if they are nothing else."""
    return [group for group in groups if not group.is_upper_bound] or list(groups)


@dataclass(frozen=True)
class Section:
    """Runs on the same stream of tasks, which can be compared."""

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
        """What its runs measure; accuracy if no run is complete."""
        complete = [run for group in self.measured for run in group.complete]
        return complete[0].results.measure if complete else MEASURES["accuracy"]

    @property
    def metric(self) -> Metric:
        """The metric that ranks strategies."""
        return METRICS[self.measure.headline[0]]

    @property
    def step(self) -> float:
        """By how much one test sample changes the average accuracy: a finer difference cannot be
        measured. 0 for an error, which is no count."""
        if self.metric.unit.logarithmic or not self.measured:
            return 0.0
        tasks = self.measured[0].complete[0].results.tasks
        return 1 / (len(tasks) * min(task.test for task in tasks))

    @property
    def metrics(self) -> list[Metric]:
        """The metrics that at least one run has."""
        return [
            metric
            for metric in METRICS.values()
            if any(group.spread(metric).n for group in self.measured)
        ]

    @property
    def varied(self) -> list[str]:
        """The settings that differ between its groups."""
        return list(dict.fromkeys(key for group in self.groups for key in group.varied))

    def best_first(self, groups: Iterable[Group]) -> list[Group]:
        """These groups, ordered by their mean of the section's metric."""
        gain = self.metric.gain
        return sorted(groups, key=lambda g: (-gain(g.spread(self.metric).mean or 0), g.label))

    def eligible(self, groups: Sequence[Group]) -> list[Group]:
        """The groups to choose from: the ranked ones with validation data on the most seeds."""
        groups = ranked(groups)
        most = max((group.validation.n for group in groups), default=0)
        return [group for group in groups if 0 < most == group.validation.n]

    def chosen(self, groups: Sequence[Group]) -> Group | None:
        """The eligible group that does best on validation data; None if no run has such data."""
        return min(
            self.eligible(groups),
            key=lambda g: (-self.measure.gain(g.validation.mean or 0), g.label),
            default=None,
        )
