"""Runs as the reports see them: those that are complete and those that are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cl_runner.config.identity import fixed
from cl_runner.config.overrides import GROUPS, key_of
from cl_runner.errors import ConfigError
from cl_runner.jobs.job import Job
from cl_runner.jobs.ledger import read_ledger
from cl_runner.run_folder import read as files
from cl_runner.run_folder.plain import Damaged
from cl_runner.run_folder.read import DAMAGED

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
    state: str = COMPLETE  # or failed, interrupted, killed, running, missing, damaged
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

    def predictions(self) -> files.Arrays:
        """What `predictions.npz` of a run in regression holds."""
        return files.fits(self.folder, len(self.results["tasks"]))


def read(folders: Sequence[Path]) -> list[Run]:
    """All runs below these folders, run 10 after run 9, and the jobs of sweeps that were never
    begun. Raises ConfigError if there is none, or a folder is not there."""
    check_folders(folders)
    found: dict[Path, Run] = {}
    for folder in folders:
        jobs = dict[Path, Job]()
        for file in folder.rglob("sweep.json"):
            try:
                jobs |= {job.folder: job for job in read_ledger(file.parent).jobs}
            except Damaged as damaged:
                found[file.resolve()] = Run(file.parent, {}, {}, None, DAMAGED, str(damaged))
        for place in {*begun([folder]), *jobs}:
            found[place.resolve()] = _read(jobs.get(place, Job(place, {}, [])))
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


def _read(job: Job) -> Run:
    folder, varied = job.folder, job.varied
    state, error = job.state, ""
    status: Mapping[str, Any] = {}
    config: Mapping[str, Any] = {}
    results: dict[str, Any] = {}
    try:
        status = files.status(folder)
        error = next(iter(status.get("error", "").splitlines()), "")
        config = files.config(folder) or {}
        results = _results(folder) if state == COMPLETE else {}
    except Damaged as damaged:
        state, error = DAMAGED, f"{damaged.file.name}: {damaged.reason}"
    flat = {key: _number(value) for key, value in fixed(dict(config)).items()} if config else {}
    settings = {key: value for key, value in flat.items() if key not in NOT_A_SETTING}
    seed = flat.get("seed", varied.get("seed"))
    swept = {key: value for key, value in varied.items() if key != "seed"}
    chosen = {key_of(o): o.partition("=")[2] for o in job.overrides if key_of(o) in GROUPS}
    names = {**chosen, **status.get("names", {})}
    return Run(folder, settings, results, seed, state, error, swept, names)


def _results(folder: Path) -> dict[str, Any]:
    """`results.json`; in regression the fits beside it are looked at, which figures need."""
    found = files.results(folder)
    if found["metrics_are_of"] == "mse":
        files.fits(folder, len(found["tasks"]))
    return found


def _number(value: Any) -> Any:
    """2.0 is the setting 2."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def printable(name: str) -> str:
    """The name of a folder, which need not be UTF-8, as text."""
    return name.encode(errors="replace").decode()


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in path.parts]
