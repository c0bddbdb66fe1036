"""Which runs belong together: sections by their stream, groups by their settings."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cl_runner.report.compare.groups import PARTS, Group, Section, Settings
from cl_runner.report.compare.runs import Run
from cl_runner.report.compare.values import brief, shown
from cl_runner.text import counted


def sections(runs: Sequence[Run], labels: Mapping[Path, str] | None = None) -> list[Section]:
    """One section for all runs with the same settings of the data set.

    labels: names of runs, by folder, that replace those made from their settings.
    """
    by_data: dict[str, list[Run]] = {}
    homes: dict[Path, str] = {}
    for run in sorted(runs, key=lambda run: not run.settings):
        if run.settings:
            key = _key(_of_data(run.settings))
            homes.setdefault(run.folder.parent, key)
        else:  # in the section of the other runs of its sweep
            key = homes.get(run.folder.parent, next(iter(by_data), ""))
        by_data.setdefault(key, []).append(run)
    titles = _titles(list(by_data.values()))
    return [
        Section(title, _groups(members, labels or {}))
        for title, members in zip(titles, by_data.values(), strict=True)
    ]


def _groups(runs: Sequence[Run], labels: Mapping[Path, str]) -> list[Group]:
    by_settings: dict[str, Group] = {}
    for run in runs:
        known = run.settings or {**run.varied, "strategy": run.option("strategy")}
        by_settings.setdefault(_key(known), Group([])).runs.append(run)
    groups = [group for group in by_settings.values() if group.settings]
    _set_varied(groups)
    for group in [group for group in by_settings.values() if not group.settings]:
        swept = group.runs[0].varied
        alike = next((other for other in groups if _same_point(other, swept)), None)
        if alike is not None:
            alike.runs += group.runs
        else:
            group.varied = {k: _as_number(v) for k, v in swept.items() if k != "strategy"}
            groups.append(group)
    in_brief = Counter(_label(group, brief) for group in groups)
    for group in groups:
        label = _label(group, brief)
        group.name = labels.get(group.runs[0].folder)
        group.label = group.name or (label if in_brief[label] == 1 else _label(group, shown))
    return groups


def _label(group: Group, text: Callable[[Any], str]) -> str:
    words = [f"{_short(key, group.varied)} {text(value)}" for key, value in group.varied.items()]
    return ", ".join([group.strategy, *words])


def _same_point(group: Group, swept: Mapping[str, str]) -> bool:
    """Whether a job that was never begun, and of which only `swept` is known, belongs to it."""
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


def _set_varied(groups: Sequence[Group]) -> None:
    """Set what varies: names of models and optimizers, and settings. A setting of a strategy, model
    or optimizer counts only if it varies among the groups that use the same one."""
    every = [{**group.settings, **group.options} for group in groups]
    everywhere = [key for key in _varying(every) if key != "strategy"]
    own: dict[tuple[str, str | None], list[str]] = {}
    for part in PARTS:
        for name in {group.options.get(part) for group in groups}:
            alike = [group.settings for group in groups if group.options.get(part) == name]
            own[part, name] = _varying(alike)
    for group, settings in zip(groups, every, strict=True):
        for key in everywhere:
            part = key.partition(".")[0]
            if key == part or part not in PARTS or key in own[part, group.options.get(part)]:
                group.varied[key] = settings.get(key)


def _varying(settings: Sequence[Settings]) -> list[str]:
    keys = dict.fromkeys(key for one in settings for key in one)
    return [key for key in keys if len({repr(one.get(key)) for one in settings}) > 1]


def _titles(members: Sequence[Sequence[Run]]) -> list[str]:
    """The data set and its scenario of each section; if several agree, also what differs."""
    plain = [_title(runs) for runs in members]
    data = [_of_data(runs[0].settings) for runs in members]
    titles = []
    for title, settings in zip(plain, data, strict=True):
        alike = [other for other, name in zip(data, plain, strict=True) if name == title]
        words = [f"{key.partition('.')[2]} {shown(settings.get(key))}" for key in _varying(alike)]
        titles.append(", ".join([title, *words]))
    return titles


def _title(runs: Sequence[Run]) -> str:
    done = next((run.results for run in runs if run.complete), None)
    if done is None:
        return str(runs[0].settings.get("dataset.source._target_", "runs")).rpartition(".")[2]
    scenario = str(done.conventions["scenario"]).replace("_", "-")
    return f"{done.dataset}, {scenario}, {counted(len(done.tasks), 'task')}"


def _of_data(settings: Settings) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key.startswith("dataset.")}


def _key(settings: Settings) -> str:
    return json.dumps(settings, sort_keys=True, default=str)


def _short(key: str, among: Iterable[str]) -> str:
    """`alpha` for `strategy.alpha`, unless another key has the same ending."""
    last = key.rpartition(".")[2]
    return last if sum(k.rpartition(".")[2] == last for k in among) == 1 else key
