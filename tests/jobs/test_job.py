"""The table of a sweep's jobs that are not complete."""

from __future__ import annotations

import json
from pathlib import Path

from cl_runner.jobs.job import Job, table


def failed(folder: Path, seed: int, error: str) -> Job:
    place = folder / f"job_{seed}"
    place.mkdir()
    (place / "status.json").write_text(json.dumps({"status": "failed", "error": error}))
    return Job(place, {"seed": str(seed)}, [])


def test_an_error_stands_beside_its_job_and_one_of_all_jobs_stands_once(tmp_path) -> None:
    jobs = [failed(tmp_path, seed, "data error: no pictures") for seed in (0, 1)]
    assert table(jobs, []).splitlines() == [
        "job    seed  state",
        "job_0     0  failed",
        "job_1     1  failed",
        "data error: no pictures",
        "2 jobs: 2 failed",
    ]
    jobs.append(failed(tmp_path, 2, "diverged"))
    assert [line.split("  ")[-1].strip() for line in table(jobs, []).splitlines()] == [
        "error",
        "data error: no pictures",
        "data error: no pictures",
        "diverged",
        "3 jobs: 3 failed",
    ]
