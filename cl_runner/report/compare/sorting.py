"""Which runs belong together: by their stream into sections, by their settings into groups."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cl_runner.report.compare.groups import PARTS, Group, Section, Settings, shown
from cl_runner.report.compare.runs import Run


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
    scenario = str(done.conventions["scenario"]).replace("_", "-")
    count = len(done.tasks)
    return f"{done.dataset}, {scenario}, {count} task{'s' * (count != 1)}"


def _of_data(settings: Settings) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key.startswith("dataset.")}


def _key(settings: Settings) -> str:
    return json.dumps(settings, sort_keys=True, default=str)


def _short(key: str, among: Iterable[str]) -> str:
    """`alpha` of `strategy.alpha`, if no other key ends like it."""
    last = key.rpartition(".")[2]
    return last if sum(k.rpartition(".")[2] == last for k in among) == 1 else key
