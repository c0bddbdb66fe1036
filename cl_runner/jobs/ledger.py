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
from cl_runner.run_folder.plain import Damaged


def ledger(folder: Path, jobs: Sequence[Job]) -> str:
    """`sweep.json`: what belongs to the sweep, for whoever reads its folder later. Its `id` stays
    as it is in the folder."""
    known = None
    with suppress(Damaged):  # everything but the id is known
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
    return json.dumps(sweep.model_dump(), indent=1)
