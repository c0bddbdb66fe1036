"""`sweep.json`: the jobs that belong to a sweep or a search."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cl_runner.config.masking import kept_overrides
from cl_runner.jobs.job import Job
from cl_runner.run_folder import read, schemas
from cl_runner.run_folder.files import write
from cl_runner.run_folder.plain import Damaged


def write_ledger(folder: Path, jobs: Sequence[Job]) -> None:
    """Write `sweep.json`; an existing id is kept. Raises StorageError."""
    known = None
    with suppress(Damaged):  # only the id is lost
        known = read.ledger(folder).id
    listed = [
        schemas.Job(
            folder=job.folder.name,
            varied=dict(job.varied),
            overrides=kept_overrides(job.overrides),
        )
        for job in jobs
    ]
    sweep = schemas.Ledger(sweep=folder.name, id=known or secrets.token_hex(4), jobs=listed)
    write(folder / "sweep.json", json.dumps(sweep.model_dump(), indent=1))


def jobs_in(folder: Path) -> list[Job]:
    """The jobs listed in `sweep.json`; none if the file is missing. Raises Damaged."""
    listed = read.ledger(folder).jobs
    return [Job(folder / job.folder, job.varied, job.overrides) for job in listed]
