"""A job: one run among many. Its name, its folder, its state."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

from cl_runner.config.command_line import quoted
from cl_runner.config.identity import settings_digest
from cl_runner.config.masking import shown
from cl_runner.config.overrides import key_of, last_part
from cl_runner.config.traits import Config
from cl_runner.run_folder import read
from cl_runner.run_folder.plain import Damaged
from cl_runner.run_folder.read import DAMAGED, DONE, state_of
from cl_runner.run_folder.resume import recorded_earlier
from cl_runner.text import aligned, counted

FIRST_TASKS = "first_tasks"
"""The folder, next to the jobs, that keeps first tasks for the jobs that share them."""


@dataclass(frozen=True)
class Job:
    """A run of a sweep, a search or a suite."""

    folder: Path
    varied: Mapping[str, str]  # the settings that differ between jobs, secrets masked
    overrides: Sequence[str]  # as on the command line
    config: Config = field(default_factory=dict)  # as written to files; empty if not composed

    @property
    def label(self) -> str:
        """What tells it from the other jobs: `alpha=0.5, T=2`."""
        return ", ".join(f"{last_part(key)}={value}" for key, value in self.varied.items())

    @property
    def state(self) -> str:
        return state_of(self.folder)

    def stamp(self) -> int:
        """Changes whenever a process starts or stops working on the job."""
        file = self.folder / "status.json"
        return file.stat().st_mtime_ns if file.exists() else 0


def jobs_of(
    points: Sequence[Sequence[str]], configs: Sequence[Config], title: str, folder: Path
) -> list[Job]:
    """One job for all points with equal settings. A job that is already in the folder keeps its
    name, whatever its number was."""
    varying = varied_keys(points)
    jobs: dict[str, Job] = {}
    earlier = cache(lambda device: dict(recorded_earlier(folder, device)))
    for point, config in zip(points, configs, strict=True):
        digest = settings_digest(config)
        if digest in jobs:
            continue
        digits = 16 if any(other.startswith(digest[:8]) for other in jobs) else 8
        values = dict(override.partition("=")[::2] for override in shown(point))
        varied = {key: values[key] for key in varying if key in values}
        known = partial(earlier, str(config.get("device")))
        place = job_folder(folder, len(jobs), title, digest, known, digits)
        jobs[digest] = Job(place, varied, point, config)
    return list(jobs.values())


def job_folder(
    folder: Path,
    number: int,
    title: str,
    digest: str,
    earlier: Callable[[], Mapping[str, Path]],
    digits: int = 8,
) -> Path:
    """The job's folder below that of the sweep: the existing one for these settings, or a new one.
    digest: of the settings; earlier: those of the runs that lack some (`recorded_earlier`); digits:
    how many of the digest are part of the name."""
    existing = min(folder.glob(f"*_{digest[:digits]}"), default=None) or earlier().get(digest)
    return existing or folder / f"{number:03}_{plain_name(title)}_{digest[:digits]}"


def command(job: Job, settings: Mapping[str, object]) -> list[str]:
    """The job's own command line, with these settings: runs in its folder, and continues there if
    it was started before."""
    place = {"output_root": job.folder.parent, "name": job.folder.name, "resume": "auto"}
    ours = {**place, **settings}
    kept = [override for override in job.overrides if key_of(override) not in ours]
    return [*kept, *(f"{key}={quoted(value)}" for key, value in ours.items())]


def composed_command(job: Job, shared: bool) -> list[str]:
    """The same for a job whose settings were composed: also sets the threads and a name for the
    tracker. shared: whether other jobs have the same first task."""
    settings: dict[str, object] = {"threads": job.config["threads"]}
    if shared and job.config["first_task_cache"] is None:
        settings["first_task_cache"] = job.folder.parent / FIRST_TASKS
    if (job.config["tracker"] or {}).get("name", "") is None and job.label:
        settings["tracker.name"] = job.label
    return command(job, settings)


def varied_keys(points: Sequence[Sequence[str]]) -> list[str]:
    """The keys with more than one value, in the order of the command line."""
    values: dict[str, set[str]] = {}
    for point in points:
        for override in point:
            key, _, value = override.partition("=")
            values.setdefault(key, set()).add(value)
    return [key for key, seen in values.items() if len(seen) > 1]


def digest_of(parts: Iterable[str]) -> str:
    """8 characters, the same for the same parts in any order."""
    return hashlib.sha256(repr(sorted(parts)).encode()).hexdigest()[:8]


def plain_name(title: str) -> str:
    """Usable as a folder's name on every file system."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", title)[:60]


def table(jobs: Sequence[Job], skipped: Iterable[Job]) -> str:
    """One line for each job that is not complete: folder, settings, state, error. An error that all
    of them have stands below. Then how many jobs are in each state. skipped: those that were
    complete before."""
    done_before = {job.folder for job in skipped}
    rows, counts = [], Counter[str]()
    for job in jobs:
        state = job.state
        counts["already complete" if job.folder in done_before else state] += 1
        if state != DONE:
            name, error = job.folder.name, _complaint(job.folder, state)
            rows.append([name, *job.varied.values(), state, error])
    header = ["job", *(last_part(key) for key in jobs[0].varied), "state", "error"]
    shared = rows[0][-1] if len(rows) > 1 and len({row[-1] for row in rows}) == 1 else ""
    if shared:
        header, rows = header[:-1], [row[:-1] for row in rows]
    lines = [aligned(header, rows)] if rows else []
    lines += [shared] if shared else []
    states = ", ".join(f"{count} {word}" for word, count in counts.items())
    return "\n".join([*lines, f"{counted(len(jobs), 'job')}: {states}"])


def _complaint(folder: Path, state: str) -> str:
    """The error in one line."""
    if state not in ("failed", DAMAGED):
        return ""
    try:
        return read.status(folder).complaint
    except Damaged as damaged:
        return str(damaged)
