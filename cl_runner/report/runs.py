"""Runs as the reports see them: those that are complete and those that are not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cl_runner.errors import CheckpointError, ConfigError
from cl_runner.resume import fixed, key_of, read_config, read_status
from cl_runner.storage import is_locked

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
    overrides: Sequence[str] = field(default_factory=list)  # its own ones in a sweep

    @property
    def complete(self) -> bool:
        return self.state == COMPLETE

    @property
    def regression(self) -> bool:
        return self.results.get("metrics_are_of") == "mse"

    @property
    def strategy(self) -> str:
        """The name of its option; before there are results, the option of the command line or the
        name of its class."""
        if "strategy" in self.results:
            return str(self.results["strategy"])
        given = [o.partition("=")[2] for o in self.overrides if key_of(o) == "strategy"]
        target = str(self.settings.get("strategy._target_", "not known"))
        return given[-1] if given else target.rpartition(".")[2]

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
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError.of("FOLDER", folder, "is no folder")
    found: dict[Path, Run] = {}
    for folder in folders:
        jobs = dict(_jobs(folder))
        begun = [file.parent for file in folder.rglob("status.json")]
        for place in {*begun, *jobs}:
            found[place.resolve()] = _read(place, jobs.get(place, []))
    if not found:
        raise ConfigError.of("FOLDER", ", ".join(map(str, folders)), "holds no run")
    return [found[place] for place in sorted(found, key=_natural)]


def _read(folder: Path, overrides: Sequence[str]) -> Run:
    status = read_status(folder)
    state = str(status.get("status", "missing"))
    if state == "running" and not is_locked(folder):
        state = "killed"
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
    given = {key_of(o): o.partition("=")[2] for o in overrides}
    seed = flat.get("seed", given.get("seed"))
    error = lines[0] if lines and state != COMPLETE else ""
    return Run(folder, settings, results, seed, state, error, overrides)


def _jobs(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """The jobs that sweeps below this folder know of, with their own overrides."""
    for file in folder.rglob("sweep.json"):
        try:
            for job in json.loads(file.read_text())["jobs"]:
                name = Path(str(job["folder"])).name  # of its own folder's, whatever it says
                yield file.parent / name, [str(o) for o in job["overrides"]]
        except (OSError, ValueError, LookupError, TypeError):
            continue


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in path.parts]
