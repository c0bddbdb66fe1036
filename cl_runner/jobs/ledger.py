"""`sweep.json`: the jobs that belong to a sweep or a search."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cl_runner.config.masking import kept_overrides
from cl_runner.jobs.job import Job
from cl_runner.run_folder import read
from cl_runner.run_folder.plain import Damaged


@dataclass(frozen=True)
class Ledger:
    """name: of the sweep. id: of its summary in W&B; None where there is no `sweep.json`."""

    name: str
    id: str | None
    jobs: list[Job]


def ledger(folder: Path, jobs: Sequence[Job]) -> str:
    """`sweep.json`: what belongs to the sweep, for whoever reads its folder later. Its `id` stays
    as it is in the folder."""
    listed = [
        {"folder": j.folder.name, "varied": j.varied, "overrides": kept_overrides(j.overrides)}
        for j in jobs
    ]
    known = None
    with suppress(Damaged):  # all but the id is known
        known = read_ledger(folder).id
    known = known or secrets.token_hex(4)
    return json.dumps({"sweep": folder.name, "id": known, "jobs": listed}, indent=1)


def read_ledger(folder: Path) -> Ledger:
    """The sweep.json of this folder; a sweep without jobs where there is none. Raises Damaged."""
    found = read.ledger(folder) or {"id": None, "sweep": folder.name, "jobs": []}
    jobs = [Job(folder / j["folder"], j["varied"], j["overrides"]) for j in found["jobs"]]
    return Ledger(found["sweep"], found["id"], jobs)
