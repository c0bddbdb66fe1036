"""Jobs with equal settings, of which one is run for all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from cl_runner.config import masking
from cl_runner.config.compose import from_hydra
from cl_runner.config.identity import settings_digest
from cl_runner.errors import ConfigError
from cl_runner.jobs.composition import Composition
from cl_runner.jobs.job import Job
from cl_runner.run_folder.read import DONE, MISSING

Wrong = dict[Path, ConfigError]
"""Of the jobs that cannot be composed, why."""


def one_for_all(jobs: Sequence[Job], composition: Composition) -> tuple[dict[Path, Job], Wrong]:
    """For the folder of each job that can be composed the one that is run for it: of those with
    equal settings one that is complete, else one that was begun, else the first."""
    alike: dict[str, list[Job]] = {}
    wrong: Wrong = {}
    for job in jobs:
        try:
            alike.setdefault(_digest(job, composition), []).append(job)
        except ConfigError as error:
            wrong[job.folder] = error
    chosen: dict[Path, Job] = {}
    for same in alike.values():
        first = min(same, key=lambda job: (job.state != DONE, job.state == MISSING))
        chosen |= {job.folder: first for job in same}
    return chosen, wrong


def _digest(job: Job, composition: Composition) -> str:
    """Of its settings. Raises ConfigError as `cl-train` would."""
    try:
        config, _ = composition.at(job.overrides)
        return settings_digest(masking.as_written(config))
    except (HydraException, OmegaConfBaseException) as error:
        raise from_hydra(error) from None
