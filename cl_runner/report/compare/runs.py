"""Runs as the report sees them, complete or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cl_runner.config.identity import fixed
from cl_runner.config.overrides import key_of
from cl_runner.config.paths import GROUPS
from cl_runner.config.traits import traits
from cl_runner.errors import ConfigError
from cl_runner.jobs.job import Job
from cl_runner.jobs.ledger import jobs_in
from cl_runner.metrics import Metric
from cl_runner.run_folder import read as files
from cl_runner.run_folder.outcome import Results
from cl_runner.run_folder.plain import Damaged
from cl_runner.run_folder.read import DAMAGED, DONE


@dataclass(frozen=True)
class Run:
    """A run: its folder, its settings without the seed, its state, what it measured."""

    folder: Path
    settings: dict[str, Any]  # flat; empty if it failed before they were written down
    outcome: Results | None  # None unless it is complete
    seed: Any
    state: str = DONE  # or failed, interrupted, killed, running, missing, damaged
    error: str = ""  # its first line
    varied: Mapping[str, str] = field(default_factory=dict)  # by its sweep, as typed, but the seed
    names: Mapping[str, str] = field(default_factory=dict)  # of its parts, as far as known

    @property
    def name(self) -> str:
        return printable(self.folder.name)

    @property
    def complete(self) -> bool:
        return self.state == DONE

    @property
    def results(self) -> Results:
        """What a complete run measured."""
        assert self.outcome is not None
        return self.outcome

    def option(self, part: str) -> str | None:
        """The name of its strategy, model or optimizer: the option's, otherwise the class's. None
        for a job that was never begun and does not name it."""
        named = getattr(self.outcome, part, "") or self.names.get(part) or self.varied.get(part)
        target = str(self.settings.get(f"{part}._target_", "")).rpartition(".")[2]
        return str(named or target) or None

    def value(self, metric: Metric) -> float | None:
        """None if the metric is null or the run is not complete."""
        return None if self.outcome is None else self.outcome.metrics.get(metric.name)

    def fits(self) -> files.Arrays:
        """The contents of `predictions.npz`, of a regression run."""
        return files.fits(self.folder, len(self.results.tasks))


def read(folders: Sequence[Path]) -> list[Run]:
    """All runs below these folders, run 10 after run 9, and jobs of sweeps that were never begun.
    Raises ConfigError if there are none, or if a folder does not exist."""
    check_folders(folders)
    runs: dict[Path, Run] = {}
    for folder in folders:
        jobs = dict[Path, Job]()
        for file in folder.rglob("sweep.json"):
            try:
                jobs |= {job.folder: job for job in jobs_in(file.parent)}
            except Damaged as damaged:
                runs[file.resolve()] = Run(file.parent, {}, None, None, DAMAGED, str(damaged))
        for place in {*begun([folder]), *jobs}:
            runs[place.resolve()] = _read(jobs.get(place, Job(place, {}, [])))
    if not runs:
        raise ConfigError.of("FOLDER", ", ".join(map(str, folders)), "holds no run")
    return [runs[place] for place in sorted(runs, key=_natural)]


def at(folder: Path) -> Run:
    """The run in this folder, whether complete or not. Raises ConfigError if there is none."""
    check_folders([folder])
    if not (folder / "status.json").exists():
        raise ConfigError.of("FOLDER", folder, "holds no run")
    return _read(Job(folder, {}, []))


def check_folders(folders: Sequence[Path]) -> None:
    """Raise ConfigError if one does not exist."""
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError.of("FOLDER", folder, "is not a folder")


def begun(folders: Sequence[Path]) -> list[Path]:
    """The folders of all begun runs below these folders, run 10 after run 9."""
    places = {file.parent for folder in folders for file in folder.rglob("status.json")}
    return sorted(places, key=_natural)


def _read(job: Job) -> Run:
    folder, varied = job.folder, job.varied
    state, error = job.state, ""
    status, outcome = files.NEVER_BEGUN, None
    config: dict[str, Any] = {}
    try:
        status = files.status(folder)
        error = status.complaint
        config = files.config(folder) or {}
        outcome = _outcome(folder) if state == DONE else None
    except Damaged as damaged:
        state, error = DAMAGED, f"{damaged.file.name}: {damaged.reason}"
    flat = {key: _number(value) for key, value in fixed(config).items()} if config else {}
    settings = {key: value for key, value in flat.items() if traits(key, config).compared}
    settings.pop("environment", None)  # a digest of variables, which may hold nothing but paths
    seed = flat.get("seed", varied.get("seed"))
    swept = {key: value for key, value in varied.items() if key != "seed"}
    chosen = {key_of(o): o.partition("=")[2] for o in job.overrides if key_of(o) in GROUPS}
    names = {**chosen, **status.names}
    return Run(folder, settings, outcome, seed, state, error, swept, names)


def _outcome(folder: Path) -> Results:
    """What `results.json` holds. Figures need the fits beside it, so those are checked, too."""
    results = files.results(folder)
    if results.measure.has_fits:
        files.fits(folder, len(results.tasks))
    return results


def _number(value: Any) -> Any:
    """2.0 is the same setting as 2."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def printable(name: str) -> str:
    """The name of a folder as text; it need not be UTF-8."""
    return name.encode(errors="replace").decode()


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in path.parts]
