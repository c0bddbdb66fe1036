"""Runs as the reports see them: those that are complete and those that are not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cl_runner.errors import CheckpointError, ConfigError
from cl_runner.resume import GROUPS, fixed, read_config, read_status
from cl_runner.sweep.jobs import read_ledger, state_of

Arrays = dict[str, np.ndarray[Any, Any]]
COMPLETE = "complete"
NEEDED = ("metrics_are_of", "strategy", "dataset", "tasks", "conventions", "cost")
"""What a report cannot do without in `results.json`."""
NOT_A_SETTING = ("seed", "reference", "environment")
"""What runs of the same setting may differ in."""


@dataclass(frozen=True)
class Run:
    """A run: its folder, its settings without the seed, how far it has come, what it measured."""

    folder: Path
    settings: dict[str, Any]  # flat; empty if it failed before they were written down
    results: dict[str, Any]  # of `results.json`; empty unless it is complete
    seed: Any
    state: str = COMPLETE  # or failed, interrupted, killed, running, missing
    error: str = ""  # its first line
    # In a sweep: what varies, as typed, without the seed.
    varied: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)  # of its parts, where they are known

    @property
    def name(self) -> str:
        return printable(self.folder.name)

    @property
    def complete(self) -> bool:
        return self.state == COMPLETE

    @property
    def regression(self) -> bool:
        return self.results.get("metrics_are_of") == "mse"

    @property
    def strategy(self) -> str:
        return self.option("strategy") or "not known"

    def option(self, part: str) -> str | None:
        """The name of its strategy, model or optimizer: of the option, else of the class; None of
        a job that was never begun and does not name it."""
        named = self.results.get(part) or self.names.get(part) or self.varied.get(part)
        target = str(self.settings.get(f"{part}._target_", "")).rpartition(".")[2]
        return str(named or target) or None

    @property
    def validation(self) -> float | None:
        """Mean over the tasks of the accuracy on validation data after the last task (regression:
        of the error); None without such data. What settings are chosen by."""
        rows = self.results.get(f"{self.results.get('metrics_are_of')}_validation")
        return None if not rows else float(np.mean(rows[-1]))

    def predictions(self) -> Arrays:
        """What `predictions.npz` holds."""
        with np.load(self.folder / "predictions.npz") as arrays:
            return dict(arrays)


def read(folders: Sequence[Path]) -> list[Run]:
    """All runs below these folders, run 10 after run 9, and the jobs of sweeps that were never
    begun. Raises ConfigError if there is none, or a folder is not there."""
    check_folders(folders)
    found: dict[Path, Run] = {}
    for folder in folders:
        jobs = {place: (varied, chosen) for place, varied, chosen in _jobs(folder)}
        for place in {*begun([folder]), *jobs}:
            found[place.resolve()] = _read(place, *jobs.get(place, ({}, {})))
    if not found:
        raise ConfigError.of("FOLDER", ", ".join(map(str, folders)), "holds no run")
    return [found[place] for place in sorted(found, key=_natural)]


def check_folders(folders: Sequence[Path]) -> None:
    """Raise ConfigError if one is not there."""
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError.of("FOLDER", folder, "is no folder")


def begun(folders: Sequence[Path]) -> list[Path]:
    """The folders of all runs that were begun below these, run 10 after run 9."""
    found = {file.parent for folder in folders for file in folder.rglob("status.json")}
    return sorted(found, key=_natural)


def _read(folder: Path, varied: Mapping[str, str], chosen: Mapping[str, str]) -> Run:
    status, state = read_status(folder), state_of(folder)
    error = next(iter(str(status.get("error") or "").splitlines()), "")
    config: Mapping[str, Any] = {}
    results: dict[str, Any] = {}
    try:
        config = read_config(folder) or {}
        results = _results(folder) if state == COMPLETE else {}
    except CheckpointError:
        state, error = "damaged", "config.yaml cannot be read"
    except (OSError, ValueError, LookupError, TypeError):
        state, error = "damaged", "results.json cannot be read, or lacks what a report needs"
    flat = {key: _number(value) for key, value in fixed(dict(config)).items()} if config else {}
    settings = {key: value for key, value in flat.items() if key not in NOT_A_SETTING}
    seed = flat.get("seed", varied.get("seed"))
    swept = {key: value for key, value in varied.items() if key != "seed"}
    names = status.get("names")
    names = {**chosen, **(names if isinstance(names, dict) else {})}
    return Run(folder, settings, results, seed, state, error, swept, names)


def _results(folder: Path) -> dict[str, Any]:
    """`results.json`, and in regression the fits beside it. Raises an error if it is damaged."""

    def refused(constant: str) -> None:
        raise ValueError(constant)  # NaN: no run that ended well has it

    found: dict[str, Any] = json.loads(
        (folder / "results.json").read_text(), parse_constant=refused
    )
    if missing := [key for key in NEEDED if key not in found]:
        raise LookupError(missing)
    if found["metrics_are_of"] == "mse" and not (folder / "predictions.npz").is_file():
        raise LookupError("predictions.npz")
    return found


def _number(value: Any) -> Any:
    """2.0 is the setting 2."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _jobs(folder: Path) -> Iterator[tuple[Path, dict[str, str], dict[str, str]]]:
    """The jobs that sweeps below this folder know of, with what varies in each and the options
    that it names."""
    for file in folder.rglob("sweep.json"):
        for job in read_ledger(file.parent)["jobs"]:
            given = dict(override.partition("=")[::2] for override in job["overrides"])
            chosen = {part: given[part] for part in GROUPS if part in given}
            yield file.parent / job["folder"], job["varied"], chosen


def printable(name: str) -> str:
    """The name of a folder, which need not be UTF-8, as text."""
    return name.encode(errors="replace").decode()


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in path.parts]
