"""Runs in order: sections of one stream each, in them the runs of one setting and several seeds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from cl_runner.report.runs import Run
from cl_runner.report.statistics import Spread, spread

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
            if run.complete and any(
                run.results.get(key) != first[run.seed].get(key) for key in ("accuracy", "mse")
            )
        ]  # fmt: skip

    @cached_property
    def unfinished(self) -> list[Run]:
        return [run for run in self.runs if not run.complete]

    def by_seed(self, metric: str) -> dict[Any, float]:
        """The values of a metric of `results.json`, those that are not null."""
        found = {run.seed: run.results.get(metric) for run in self.complete}
        return {seed: float(value) for seed, value in found.items() if value is not None}

    def spread(self, metric: str) -> Spread:
        if metric not in self._spreads:
            self._spreads[metric] = spread(list(self.by_seed(metric).values()))
        return self._spreads[metric]

    @cached_property
    def validation(self) -> Spread:
        values = [run.validation for run in self.complete]
        return spread([value for value in values if value is not None])


@dataclass(frozen=True)
class Section:
    """Runs on one stream of tasks: what can be compared."""

    title: str
    groups: list[Group]

    @cached_property
    def regression(self) -> bool:
        return any(run.regression for group in self.groups for run in group.complete)

    @cached_property
    def measured(self) -> list[Group]:
        """The groups with a complete run."""
        return [group for group in self.groups if group.complete]

    @property
    def tasks(self) -> int:
        return len(self.measured[0].complete[0].results["tasks"]) if self.measured else 0

    @property
    def metric(self) -> str:
        """The one that strategies are ranked by."""
        return "average_mse" if self.regression else "average_accuracy"

    @property
    def varied(self) -> list[str]:
        """The settings in which groups differ."""
        return list(dict.fromkeys(key for group in self.groups for key in group.varied))

    def best_first(self, groups: Iterable[Group]) -> list[Group]:
        """By the mean of the section's metric."""
        sign = 1 if self.regression else -1
        return sorted(groups, key=lambda g: (sign * (g.spread(self.metric).mean or 0), g.label))

    def eligible(self, groups: Sequence[Group]) -> list[Group]:
        """Those to choose among: with validation data, and of these with the most seeds."""
        most = max((group.validation.n for group in groups), default=0)
        return [group for group in groups if 0 < most == group.validation.n]

    def chosen(self, groups: Sequence[Group]) -> Group | None:
        """The eligible group that is best on validation data; None where no run has such data."""
        sign = 1 if self.regression else -1
        return min(
            self.eligible(groups),
            key=lambda g: (sign * (g.validation.mean or 0), g.label),
            default=None,
        )


def sections(runs: Sequence[Run], labels: Mapping[Path, str] | None = None) -> list[Section]:
    """Runs with the same settings of the data set are a section. labels: what runs are called, by
    their folder, where that is known better than from their settings."""
    by_data: dict[str, list[Run]] = {}
    homes: dict[Path, str] = {}
    for run in (run for run in runs if run.settings):
        key = _key(_of_data(run.settings))
        by_data.setdefault(key, []).append(run)
        homes.setdefault(run.folder.parent, key)
    for run in (run for run in runs if not run.settings):  # beside those of its sweep
        key = homes.get(run.folder.parent, next(iter(by_data), ""))
        by_data.setdefault(key, []).append(run)
    titles = _titles(list(by_data.values()))
    return [
        Section(title, _groups(members, labels or {}))
        for title, members in zip(titles, by_data.values(), strict=True)
    ]


def _groups(runs: Sequence[Run], labels: Mapping[Path, str]) -> list[Group]:
    found: dict[str, Group] = {}
    for run in runs:
        known = run.settings or {**run.varied, "strategy": run.strategy}
        found.setdefault(_key(known), Group([])).runs.append(run)
    begun = [group for group in found.values() if group.settings]
    _tell_apart(begun)
    groups = list(begun)
    for group in found.values():
        if group.settings:
            continue
        swept = group.runs[0].varied
        alike = next((other for other in begun if _same_point(other, swept)), None)
        if alike is not None:
            alike.runs += group.runs
        else:
            group.varied = {k: _as_number(v) for k, v in swept.items() if k != "strategy"}
            groups.append(group)
    for group in groups:
        told = [f"{_short(key, group.varied)} {shown(v)}" for key, v in group.varied.items()]
        group.label = labels.get(group.runs[0].folder) or ", ".join([group.strategy, *told])
    return groups


def _same_point(group: Group, swept: Mapping[str, str]) -> bool:
    """Whether a job whose settings are not known would have been one of this group."""
    of_group = {**group.settings, **group.options}
    return bool(swept) and all(
        key in of_group and _as_number(of_group[key]) == _as_number(value)
        for key, value in swept.items()
    )


def _as_number(value: Any) -> Any:
    """1e1, 10 and 10.0 are the same."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return shown(value)


def _tell_apart(groups: Sequence[Group]) -> None:
    """Find out what varies: the names of models and optimizers, and the settings; those of a
    strategy, a model or an optimizer among the groups that have the same one."""
    every = [{**group.settings, **group.options} for group in groups]
    everywhere = [key for key in _varying(every) if key != "strategy"]
    own: dict[tuple[str, str | None], list[str]] = {}
    for part in PARTS:
        for name in {group.options.get(part) for group in groups}:
            alike = [group.settings for group in groups if group.options.get(part) == name]
            own[part, name] = _varying(alike)
    for group, settings in zip(groups, every, strict=True):
        group.varied = {}
        for key in everywhere:
            part = key.partition(".")[0]
            if key == part or part not in PARTS or key in own[part, group.options.get(part)]:
                group.varied[key] = settings.get(key)


def _varying(settings: Sequence[Settings]) -> list[str]:
    seen: dict[str, set[str]] = {}
    for key in dict.fromkeys(key for one in settings for key in one):
        seen[key] = {repr(one.get(key)) for one in settings}
    return [key for key, values in seen.items() if len(values) > 1]


def _titles(members: Sequence[Sequence[Run]]) -> list[str]:
    """The data set and its scenario; where two sections would be called alike, what differs."""
    plain = [_title(runs) for runs in members]
    data = [_of_data(runs[0].settings) for runs in members]
    titles = []
    for title, settings in zip(plain, data, strict=True):
        alike = [other for other, name in zip(data, plain, strict=True) if name == title]
        told = [f"{key.partition('.')[2]} {shown(settings.get(key))}" for key in _varying(alike)]
        titles.append(", ".join([title, *told]))
    return titles


def _title(runs: Sequence[Run]) -> str:
    done = next((run.results for run in runs if run.complete), None)
    if done is None:
        return str(runs[0].settings.get("dataset.source._target_", "runs")).rpartition(".")[2]
    scenario = str(done["conventions"]["scenario"]).replace("_", "-")
    count = len(done["tasks"])
    return f"{done['dataset']}, {scenario}, {count} task{'s' * (count != 1)}"


def _of_data(settings: Settings) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key.startswith("dataset.")}


def _key(settings: Settings) -> str:
    return json.dumps(settings, sort_keys=True, default=str)


def _short(key: str, among: Iterable[str]) -> str:
    """`alpha` of `strategy.alpha`, if no other key ends like it."""
    last = key.rpartition(".")[2]
    return last if sum(k.rpartition(".")[2] == last for k in among) == 1 else key


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
