"""Which jobs of a sweep share their first task, and in which order they should begin."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from cl_runner.config.identity import acting
from cl_runner.jobs.job import Job


def first_tasks(jobs: Sequence[Job]) -> list[str]:
    """A word for each job, equal for jobs whose training on the first task is the same."""
    return [json.dumps(acting(job.config), sort_keys=True) for job in jobs]


def interleaved(jobs: Sequence[Job]) -> list[Job]:
    """The first of each group first: jobs that run side by side then do not wait for each other's
    first task."""
    seen: Counter[str] = Counter()
    ranked = []
    for number, (job, word) in enumerate(zip(jobs, first_tasks(jobs), strict=True)):
        ranked.append((seen[word], number, job))
        seen[word] += 1
    return [job for _, _, job in sorted(ranked, key=lambda entry: entry[:2])]
