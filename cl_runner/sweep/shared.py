"""Which jobs of a sweep share their first task, and in which order they should begin."""

from __future__ import annotations

import importlib
import json
from collections import Counter
from collections.abc import Sequence

from cl_runner.config.identity import Config, acting_settings
from cl_runner.jobs.job import Job


def first_tasks(jobs: Sequence[Job]) -> list[str]:
    """A word for each job, equal for jobs whose training on the first task is the same."""
    return [
        json.dumps(acting_settings(job.config, _shares(job.config)), sort_keys=True) for job in jobs
    ]


def interleaved(jobs: Sequence[Job]) -> list[Job]:
    """The first of each group first: jobs that run side by side then do not wait for each other's
    first task."""
    seen: Counter[str] = Counter()
    ranked = []
    for number, (job, word) in enumerate(zip(jobs, first_tasks(jobs), strict=True)):
        ranked.append((seen[word], number, job))
        seen[word] += 1
    return [job for _, _, job in sorted(ranked, key=lambda entry: entry[:2])]


def _shares(config: Config) -> bool:
    """Whether its strategy trains on the first task as all do; of a foreign one nothing is known,
    and its code is not imported here."""
    module, _, name = str(config["strategy"].get("_target_", "")).rpartition(".")
    if not module.startswith("cl_runner.strategies."):
        return False
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError:  # the job itself will say what is wrong
        return False
    return bool(getattr(found, "shares_first_task", False))
