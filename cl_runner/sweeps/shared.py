"""Which jobs of a sweep share their first task, and in which order to start them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from cl_runner.config.identity import acting
from cl_runner.jobs.job import Job


def first_tasks(jobs: Sequence[Job]) -> list[str]:
    """A key for each job, equal for jobs whose training on the first task is the same."""
    return [json.dumps(acting(job.config), sort_keys=True) for job in jobs]


def interleaved(jobs: Sequence[Job]) -> list[Job]:
    """The first job of each group, then the second of each, and so on: so jobs that run side by
    side do not wait for each other's first task."""
    seen, ranked = Counter[str](), []
    for job, first_task in zip(jobs, first_tasks(jobs), strict=True):
        ranked.append((seen[first_task], job))
        seen[first_task] += 1
    return [job for _, job in sorted(ranked, key=lambda entry: entry[0])]
