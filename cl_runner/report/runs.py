"""Finished runs as the reports see them, and which of them are the same but for their seed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cl_runner.errors import ConfigError
from cl_runner.resume import fixed, read_config

Arrays = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Run:
    """A complete run: its folder, its settings without the seed, what it has measured."""

    folder: Path
    settings: dict[str, Any]
    results: dict[str, Any]

    @property
    def regression(self) -> bool:
        return bool(self.results["metrics_are_of"] == "mse")

    def predictions(self) -> Arrays:
        """What `predictions.npz` holds."""
        with np.load(self.folder / "predictions.npz") as arrays:
            return dict(arrays)


def status_files(folders: Sequence[Path]) -> list[Path]:
    """`status.json` of every run below these folders, run 10 after run 9. Raises ConfigError if
    there is none."""
    found = {file for folder in folders for file in folder.rglob("status.json")}
    if not found:
        raise ConfigError.of("FOLDER", ", ".join(map(str, folders)), "holds no run")
    return sorted(found, key=_natural)


def read(folders: Sequence[Path]) -> list[Run]:
    """The complete runs below these folders."""
    runs = []
    for file in status_files(folders):
        if json.loads(file.read_text())["status"] == "complete":
            settings = fixed(read_config(file.parent) or {})
            settings = {k: v for k, v in settings.items() if k not in ("seed", "reference")}
            runs.append(
                Run(file.parent, settings, json.loads((file.parent / "results.json").read_text()))
            )
    return runs


def groups(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs that differ in their seed alone, under a label: the strategy, and those settings in
    which runs of that strategy differ."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        alike = [r for r in runs if r.results["strategy"] == run.results["strategy"]]
        keys = sorted(
            {k for r in alike for k in r.settings if r.settings[k] != run.settings.get(k)}
        )
        told = [f"{k.rpartition('.')[2]} {run.settings.get(k, '–')}" for k in keys]
        found.setdefault(", ".join([run.results["strategy"], *told]), []).append(run)
    return found


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in path.parts]
