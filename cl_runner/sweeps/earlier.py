"""The folder of a sweep that was begun before some of its settings existed.

A folder without a name of its own is named after the digest of all settings, which is another now.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cl_runner.config.identity import settings_digest
from cl_runner.config.traits import Config
from cl_runner.jobs.job import jobs_of
from cl_runner.run_folder import read
from cl_runner.run_folder.plain import Damaged
from cl_runner.run_folder.resume import recorded_earlier


def begun_earlier(
    place: Path, points: Sequence[Sequence[str]], configs: Sequence[Config], title: str
) -> Path | None:
    """The folder next to `place` that has this sweep: it lists the same jobs, and what was begun
    are some of them, with the defaults of the settings that they lack."""
    others = sorted(place.parent.glob(f"{place.name.rpartition('_')[0]}_????????"))
    if not others:
        return None
    jobs = [dict(job.varied) for job in jobs_of(points, configs, title, place)]
    device = configs[0]["device"]
    digests = {settings_digest(config) for config in configs}
    for other in others:
        with suppress(Damaged):
            begun = {digest for digest, _ in recorded_earlier(other, device)}
            if begun and begun <= digests and jobs == [j.varied for j in read.ledger(other).jobs]:
                return other
    return None
