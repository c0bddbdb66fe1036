"""`plan=true`: what a sweep would do, and the time and disk space it needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from cl_runner.config.identity import fixed
from cl_runner.config.overrides import last_part
from cl_runner.config.traits import Config, traits
from cl_runner.jobs.job import Job
from cl_runner.run_folder import read
from cl_runner.run_folder.plain import Damaged
from cl_runner.run_folder.read import DONE, MISSING
from cl_runner.sweeps.shared import first_tasks
from cl_runner.text import aligned, counted


def plan(jobs: Sequence[Job], root: Path) -> str:
    """One line per job, then a summary. A job's time and size are medians over finished runs like
    it below `root`; jobs without such runs are counted."""
    known: dict[str, list[tuple[float, int]]] = {}
    for config, *cost in _finished(root):
        known.setdefault(_kind(config), []).append((cost[0], int(cost[1])))
    rows, seconds, size, unknown = [], 0.0, 0.0, 0
    for job in jobs:
        done = job.state == DONE
        alike = known.get(_kind(job.config), [])
        taken, held = (median(costs) for costs in zip(*alike, strict=True)) if alike else (0, 0)
        if not done:
            seconds, size = seconds + taken, size + held
            unknown += not alike
        what = "skip" if done else "run" if job.state == MISSING else f"resume ({job.state})"
        estimate = [f"{taken:.1f}", f"{held / 1e6:.1f}"] if alike else ["–", "–"]
        rows.append([job.folder.name, *job.varied.values(), what, *estimate])
    keys = [last_part(key) for key in jobs[0].varied]
    to_do = [job for job in jobs if job.state != DONE]
    groups = len(set(first_tasks(to_do)))
    needed = f", {seconds:.0f} s of one worker and {size / 1e6:.1f} MB"
    if unknown and unknown == len(to_do):
        needed = "; time and space are not known yet, as no job of this kind has been run"
    elif unknown:
        needed += f", not counting {counted(unknown, 'job')} of a kind that has not been run"
    lines = [
        aligned(["job", *keys, "what", "seconds", "MB"], rows),
        f"{counted(len(jobs), 'job')}; to do: {len(to_do)}{needed}",
    ]
    if groups < len(to_do):
        lines.append(f"the first task is trained {counted(groups, 'time')} instead of {len(to_do)}")
    return "\n".join(lines)


def _kind(config: Config) -> str:
    """Equal for runs that take about the same time."""
    flat = fixed(config)
    slow = {key: value for key, value in flat.items() if traits(key, config).takes_time}
    return repr(sorted({**slow, "strategy": flat.get("strategy._target_")}.items()))


def _finished(root: Path) -> Iterator[tuple[Config, float, int]]:
    """Settings, seconds and bytes of the finished runs below this folder."""
    for file in root.rglob("results.json"):
        try:
            seconds = read.results(file.parent).cost.seconds
            config = read.config(file.parent)
        except Damaged:
            continue
        if config is not None:
            size = sum(f.stat().st_size for f in file.parent.rglob("*") if f.is_file())
            yield config, seconds, size
