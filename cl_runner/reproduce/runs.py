"""The runs of a suite: in child processes of this machine, or on the launcher that was chosen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from cl_runner.config import search_path
from cl_runner.config.command_line import quoted
from cl_runner.errors import ConfigError, DataError, RunError, StorageError
from cl_runner.jobs.alike import one_for_all
from cl_runner.jobs.composition import Composition, of_a_sweep
from cl_runner.jobs.countdown import Countdown
from cl_runner.jobs.engine import Engine
from cl_runner.jobs.following import Following, measured
from cl_runner.jobs.job import FIRST_TASKS, Job, command
from cl_runner.jobs.launch import Children, side_by_side
from cl_runner.jobs.looking import looking
from cl_runner.reproduce.suite import Suite
from cl_runner.run_folder import read
from cl_runner.run_folder.files import make
from cl_runner.run_folder.outcome import Results
from cl_runner.run_folder.plain import Damaged
from cl_runner.run_folder.read import DONE, MISSING

Ended: TypeAlias = tuple[Results | None, str]
"""The results of a run, None if it failed, and how it ended."""
COMPLETE_BEFORE = "already complete"
SAME = "the same run as"


def jobs_of(suite: Suite, folder: Path, overrides: Sequence[str]) -> list[Job]:
    """Each run with each seed, with one thread, in the suite's folder."""
    # All seeds of a run in a row: they do not wait for each other's first task.
    return [job_of(suite, folder, overrides, run, s) for run in suite.runs for s in suite.seeds]


def job_of(suite: Suite, folder: Path, overrides: Sequence[str], run: str, seed: int) -> Job:
    """One of them."""
    shared = f"first_task_cache={quoted(folder / FIRST_TASKS)}"
    words = [*suite.common, *suite.runs[run], f"seed={seed}", "threads=1", shared, *overrides]
    return Job(folder / suite.folder_name(run, seed), {"run": run, "seed": str(seed)}, words)


def label(job: Job) -> str:
    """Its run and its seed, for people."""
    return f"{job.varied['run']}, seed {job.varied['seed']}"


def here(
    jobs: Sequence[Job], countdown: Countdown, config_dir: Path | None = None
) -> Iterator[tuple[Job, Ended]]:
    """Run those that are not complete in child processes, of runs with equal settings one for all;
    yield each as it ends. Raises RunError for an error that every run would meet, such as a full
    disk."""
    with of_a_sweep(config_dir) as (loader, master):
        chosen, _ = one_for_all(jobs, Composition(loader, master))
    run_of = {job.folder: chosen.get(job.folder, job) for job in jobs}  # a child says what is wrong
    to_run = list({run.folder: run for run in run_of.values()}.values())
    countdown.already(place for place, run in run_of.items() if run.state == DONE)

    def begun() -> Iterator[Job]:
        for job in to_run:
            countdown.begun(job.folder)
            yield job

    flags = search_path.words(config_dir)
    with looking(countdown.tick):
        for run, ended in side_by_side(begun(), run_one, countdown.at_a_time, flags):
            yield run, ended
            for job in jobs:
                if job is not run and run_of[job.folder] is run:
                    yield job, _same_as(run, ended)


def _same_as(run: Job, ended: Ended) -> Ended:
    """How a job ended for which this one was run."""
    results, outcome = ended
    if results is None or outcome == COMPLETE_BEFORE:
        return ended
    return results, f"{SAME} {label(run)}"


def run_one(job: Job, children: Children) -> Ended:
    """Start or continue a run."""
    ended = children.run(command(job, {}))
    if ended.code != 0:
        return _failed(ended.code, ended.complaint)
    # A run with equal settings may have another name.
    printed = Path(ended.printed.strip().splitlines()[-1].partition("run folder: ")[2])
    folder = job.folder if (job.folder / "results.json").exists() else printed
    return _read(folder, before=ended.printed.startswith(COMPLETE_BEFORE))


def on_launcher(
    engine: Engine, jobs: Sequence[Job], folder: Path, countdown: Countdown
) -> Iterator[tuple[Job, Ended]]:
    """The same on the engine's launcher; of runs with equal settings one is run for all. folder: of
    the suite. Raises ConfigError for a launcher that cannot be used."""
    run_of, wrong = one_for_all(jobs, engine.composition)
    to_do = list({run.folder: run for run in run_of.values() if run.state != DONE}.values())
    engine.prepare(folder.absolute(), to_do, idle=not to_do)
    countdown.at_a_time = engine.at_a_time
    countdown.already(place for place, run in run_of.items() if run not in to_do)
    if to_do:
        make(folder)
        following = Following(to_do, countdown, label)
        engine.run(to_do, lambda job: command(job, {}), following)
        following.finish()
    for job in jobs:
        if job.folder in wrong:
            yield job, _failed(ConfigError.exit_code, str(wrong[job.folder]))
            continue
        run = run_of[job.folder]
        yield job, _outcome(run, before=run not in to_do)


def _outcome(run: Job, before: bool) -> Ended:
    """How a launcher left a run, as its folder says."""
    if run.state == DONE:
        return _read(run.folder, before)
    try:
        status = read.status(run.folder)
    except Damaged as damaged:
        return None, str(damaged)
    if status.status == "failed":
        return _failed(status.exit_code, status.complaint)
    if run.state == MISSING:
        return None, "not started by the launcher"
    return None, f"{run.state}: {status.complaint}".removesuffix(": ")


def _read(folder: Path, before: bool) -> Ended:
    """before: whether it was complete when the command started."""
    try:
        results = read.results(folder)
    except Damaged as damaged:
        return None, str(damaged)
    return results, COMPLETE_BEFORE if before else measured(results)


def _failed(code: int, complaint: str) -> Ended:
    """Raises RunError for an error that every run would meet."""
    if code in (DataError.exit_code, StorageError.exit_code):
        raise error_of_all(complaint, code)
    return None, f"failed with exit code {code}: {complaint}"


def error_of_all(complaint: str, code: int) -> RunError:
    """An error that every run meets; ends the command with this exit code."""
    error = RunError(complaint)
    error.exit_code = code
    return error


def refuse_a_shared_mistake(outcomes: Sequence[str]) -> None:
    """Raise RunError if every run failed with the same mistake in its settings."""
    start = f"failed with exit code {ConfigError.exit_code}: "
    if len(set(outcomes)) == 1 and outcomes[0].startswith(start):
        raise error_of_all(outcomes[0].removeprefix(start), ConfigError.exit_code)
