"""The runs of a suite on the launcher that `hydra/launcher=` names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from cl_runner.config import masking
from cl_runner.config.compose import from_hydra
from cl_runner.config.identity import settings_digest
from cl_runner.errors import ConfigError
from cl_runner.jobs.engine import Engine
from cl_runner.jobs.job import Job, command
from cl_runner.run_folder import read
from cl_runner.run_folder.files import make
from cl_runner.run_folder.outcome import Results
from cl_runner.run_folder.plain import Damaged
from cl_runner.run_folder.read import DONE


def run_on(
    engine: Engine, jobs: Sequence[Job], folder: Path
) -> Iterator[tuple[Job, Results | None, str]]:
    """Run those that are not complete; yield each with its results, None if it failed, and how it
    ended. Of runs with equal settings one is run for all. folder: of the suite."""
    alike: dict[str, list[Job]] = {}
    wrong: dict[Path, str] = {}
    for job in jobs:
        try:
            alike.setdefault(_digest(engine, job), []).append(job)
        except ConfigError as error:
            wrong[job.folder] = str(error)
    runs = [next((j for j in same if j.state == DONE), same[0]) for same in alike.values()]
    run_of = {j.folder: run for run, same in zip(runs, alike.values(), strict=True) for j in same}
    to_do = [run for run in runs if run.state != DONE]
    engine.prepare(folder.absolute(), to_do, idle=not to_do)
    if to_do:
        make(folder)
        engine.run(to_do, lambda job: command(job, {}))
    for job in jobs:
        if job.folder in wrong:
            yield job, None, f"failed: {wrong[job.folder]}"
            continue
        run = run_of[job.folder]
        yield job, *_outcome(run, before=run not in to_do)


def _digest(engine: Engine, job: Job) -> str:
    """Equal for runs with equal settings. Raises ConfigError as `cl-train` would."""
    try:
        config, _ = engine.composition.at(job.overrides)
        return settings_digest(masking.as_written(config))
    except (HydraException, OmegaConfBaseException) as error:
        raise from_hydra(error) from None


def _outcome(run: Job, before: bool) -> tuple[Results | None, str]:
    try:
        if run.state != DONE:
            return None, f"{run.state}: {read.status(run.folder).complaint}".removesuffix(": ")
        results = read.results(run.folder)
    except Damaged as damaged:
        return None, str(damaged)
    return results, "already complete" if before else f"{results.cost.seconds:.0f} s"
