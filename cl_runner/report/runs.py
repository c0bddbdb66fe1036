"""Runs as the reports see them: those that are complete and those that are not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cl_runner.errors import CheckpointError, ConfigError
from cl_runner.resume import fixed, read_config, read_status
from cl_runner.sweep.jobs import read_ledger, state_of

Arrays = dict[str, np.ndarray[Any, Any]]
COMPLETE = "complete"
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
    varied: Mapping[str, str] = field(
        default_factory=dict
    )  # in a sweep, as typed, without the seed
    names: Mapping[str, str] = field(default_factory=dict)  # of its parts, once it has begun

    @property
    def complete(self) -> bool:
        return self.state == COMPLETE

    @property
    def regression(self) -> bool:
        return self.results.get("metrics_are_of") == "mse"

    @property
    def strategy(self) -> str:
        """The name of its option; of a job that was never begun it is known if it is swept."""
        named = self.results.get("strategy") or self.names.get("strategy")
        return str(named or self.varied.get("strategy", "not known"))

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
        jobs = dict(_jobs(folder))
        for place in {*begun([folder]), *jobs}:
            found[place.resolve()] = _read(place, jobs.get(place, {}))
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


def _read(folder: Path, varied: Mapping[str, str]) -> Run:
    status = read_status(folder)
    state = state_of(folder)
    lines = str(status.get("error") or "").splitlines()
    results: dict[str, Any] = {}
    try:
        config = read_config(folder) or {}
        if state == COMPLETE:
            results = json.loads((folder / "results.json").read_text())
            if "metrics_are_of" not in results:
                raise LookupError
    except (OSError, ValueError, LookupError, TypeError, CheckpointError):
        config, results, state, lines = {}, {}, "damaged", ["config.yaml or results.json"]
    flat = fixed(config) if config else {}
    settings = {k: v for k, v in flat.items() if k not in NOT_A_SETTING}
    seed = flat.get("seed", varied.get("seed"))
    swept = {key: value for key, value in varied.items() if key != "seed"}
    error = lines[0] if lines and state != COMPLETE else ""
    return Run(folder, settings, results, seed, state, error, swept, status.get("names") or {})


def _jobs(folder: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """The jobs that sweeps below this folder know of, with what varies in each."""
    for file in folder.rglob("sweep.json"):
        for job in read_ledger(file.parent)["jobs"]:
            yield file.parent / job["folder"], job["varied"]


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in path.parts]
