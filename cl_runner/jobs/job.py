"""The jobs of a sweep: what each is called, where it is, how far it has come."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cl_runner.config.command_line import quoted
from cl_runner.config.identity import settings_digest
from cl_runner.config.masking import shown
from cl_runner.config.overrides import key_of
from cl_runner.config.traits import Config
from cl_runner.run_folder import read
from cl_runner.run_folder.plain import Damaged
from cl_runner.run_folder.read import DAMAGED, DONE, state_of
from cl_runner.text import aligned


@dataclass(frozen=True)
class Job:
    """One point of the sweep. config: its settings as they are written down."""

    folder: Path
    varied: Mapping[str, str]  # the settings in which jobs of the sweep differ, secrets masked
    overrides: Sequence[str]
    config: Config

    @property
    def label(self) -> str:
        return label(self.varied)

    @property
    def state(self) -> str:
        return state_of(self.folder)

    def stamp(self) -> int:
        """Changes whenever somebody begins or ends to work on it."""
        file = self.folder / "status.json"
        return file.stat().st_mtime_ns if file.exists() else 0


def label(varied: Mapping[str, str]) -> str:
    """What a job is known by: `alpha=0.5, T=2`."""
    return ", ".join(f"{last_part(key)}={value}" for key, value in varied.items())


def jobs_of(
    points: Sequence[Sequence[str]], configs: Sequence[Config], title: str, folder: Path
) -> list[Job]:
    """Points with equal settings are one job; one that is in the folder keeps its name, whatever
    its number was. A name is a number, the experiment and a digest of the settings."""
    varying = varied_keys(points)
    found: dict[str, Job] = {}
    for point, config in zip(points, configs, strict=True):
        digest = settings_digest(config)[:8]
        if digest in found:
            continue
        named = job_folder(folder, len(found), title, digest)
        values = dict(override.partition("=")[::2] for override in shown(point))
        varied = {key: values[key] for key in varying if key in values}
        found[digest] = Job(named, varied, point, config)
    return list(found.values())


def job_folder(folder: Path, number: int, title: str, digest: str) -> Path:
    """The job's folder in that of the sweep: the one that is there for these settings, or a new
    one. digest: of the settings, 8 characters."""
    there = next(iter(sorted(folder.glob(f"*_{digest}"))), None)
    return there or folder / f"{number:03}_{plain_name(title)}_{digest}"


def command(job: Job, folder: Path, shared: bool) -> list[str]:
    """What the job's own command line would be in the sweep's folder. shared: whether others have
    the same first task."""
    ours = {"output_root": folder, "name": job.folder.name, "resume": "auto"}
    ours["threads"] = job.config["threads"]
    if shared and job.config["first_task_cache"] is None:
        ours["first_task_cache"] = folder / "first_tasks"
    if (job.config["tracker"] or {}).get("name", "") is None and job.label:
        ours["tracker.name"] = job.label
    kept = [override for override in job.overrides if key_of(override) not in ours]
    return [*kept, *(f"{key}={quoted(value)}" for key, value in ours.items())]


def varied_keys(points: Sequence[Sequence[str]]) -> list[str]:
    """The keys that do not have the same value at all points, in the order of the command line."""
    values: dict[str, set[str]] = {}
    for point in points:
        for override in point:
            key, _, value = override.partition("=")
            values.setdefault(key, set()).add(value)
    return [key for key, seen in values.items() if len(seen) > 1]


def sweep_name(title: str, configs: Iterable[Config]) -> str:
    """The same for the same set of jobs, in whatever order they are given."""
    digests = sorted({settings_digest(config) for config in configs})
    return f"{plain_name(title)}_{hashlib.sha256(repr(digests).encode()).hexdigest()[:8]}"


def plain_name(title: str) -> str:
    """Fit for a folder's name on every file system."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", title)[:60]


def table(jobs: Sequence[Job], skipped: Iterable[Job]) -> str:
    """One line per job: its settings, what became of it, its folder, its error in one line."""
    done_before = {job.folder for job in skipped}
    rows, counts = [], dict[str, int]()
    for job in jobs:
        state = "skipped" if job.folder in done_before else job.state
        word = "done" if state == DONE else state
        counts[word] = counts.get(word, 0) + 1
        rows.append([job.folder.name, *job.varied.values(), word, _complaint(job.folder, state)])
    keys = [last_part(key) for key in (jobs[0].varied if jobs else ())]
    told = ", ".join(f"{count} {word}" for word, count in counts.items())
    return f"{aligned(['job', *keys, 'state', 'error'], rows)}\n{told}"


def _complaint(folder: Path, state: str) -> str:
    """The first line of what went wrong."""
    if state not in ("failed", DAMAGED):
        return ""
    try:
        return read.status(folder).complaint
    except Damaged as damaged:
        return str(damaged)


def last_part(key: str) -> str:
    """`alpha` of `strategy.alpha`."""
    return key.rpartition(".")[2]
