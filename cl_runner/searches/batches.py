"""A search on a launcher: asks the study for as many trials as run at a time, and then tells it.

So the points depend on the seed and on how many run at a time, not on which run ends first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from cl_runner.config.identity import settings_digest
from cl_runner.errors import ConfigError, RunError
from cl_runner.hidden import masked
from cl_runner.jobs.engine import Engine
from cl_runner.jobs.job import Job
from cl_runner.jobs.ledger import write_ledger
from cl_runner.jobs.looking import Look
from cl_runner.jobs.stopping import ask_to_stop, withdraw
from cl_runner.run_folder import read
from cl_runner.run_folder.read import DONE, MISSING
from cl_runner.searches import objective
from cl_runner.searches.points import Point, job_of
from cl_runner.searches.search import Search
from cl_runner.searches.study import Trial

KILLED = -1
"""In place of the exit code of a run that says nothing about its end."""


@dataclass(frozen=True)
class Member:
    """A trial of a batch. Two of them may have the same job."""

    trial: Trial
    job: Job
    point: Point


def run_on(engine: Engine, search: Search, budget: int) -> None:
    """Run trials until there are `budget`, including those of earlier calls. Raises RunError for an
    error that every run would meet, after all trials of its batch are told."""
    if not search.study.is_open(budget):
        return
    engine.connect()
    with search.counting(budget, engine.at_a_time) as countdown:
        trials = search.next_ones(budget, countdown)
        while batch := list(islice(trials, engine.at_a_time)):
            errors: list[RunError] = []
            for trial, outcome in _batch(engine, search, batch, errors, countdown.tick):
                search.show(trial, outcome, countdown)
            for error in errors:
                raise error


def _batch(
    engine: Engine, search: Search, batch: Sequence[Trial], errors: list[RunError], tick: Look
) -> Iterator[tuple[Trial, str]]:
    """Train the trials together, and yield how each ended. errors: those of all runs are added.
    tick: called often meanwhile."""
    members: list[Member] = []
    alike: dict[str, Job] = {}  # of each settings, the job for all trials with them
    for trial in batch:
        try:
            job, point = job_of(search.space, trial.params, trial.number, search.folder)
        except ConfigError as error:
            yield trial, search.failed(trial, masked(str(error).splitlines()[0], search.masks))
            continue
        job = alike.setdefault(settings_digest(point.config), job)
        search.study.note(trial, folder=job.folder.name)
        members.append(Member(trial, job, point))
    write_ledger(search.folder, search.jobs())
    to_do = [member for member in members if member.job.state != DONE]
    pruned = _run(engine, search, to_do, tick)
    trained = {member.job.folder for member in to_do}
    for member in members:
        try:
            yield member.trial, _outcome(search, member, pruned, trained)
        except RunError as error:
            errors.append(error)


def _run(engine: Engine, search: Search, members: Sequence[Member], tick: Look) -> set[int]:
    """Train the members. Returns the numbers of the trials that were to be stopped, because the
    complete trials of earlier batches were better after the same task."""
    jobs = {member.job.folder: member.job for member in members}
    pruned: set[int] = set()

    def judge() -> None:
        tick()
        for member in members:
            if member.trial.number in pruned:
                continue
            values = objective.after_each_task(member.job.folder)
            if search.study.is_to_stop(member.trial, values, member.point.tasks):
                ask_to_stop(member.job.folder)
                pruned.add(member.trial.number)

    for folder in jobs:
        withdraw(folder)
    try:
        engine.run(list(jobs.values()), search.words, meanwhile=judge)
    finally:
        for folder in jobs:
            withdraw(folder)
    return pruned


def _outcome(search: Search, member: Member, pruned: set[int], trained: set[Path]) -> str:
    """Tell the study how the trial ended. Returns it in words."""
    trial, job = member.trial, member.job
    if job.state == DONE:
        again = "" if job.folder in trained else ", already complete"
        return search.complete(trial, job, member.point) + again
    if trial.number in pruned:
        return search.prune(trial, member.point)
    if job.state == MISSING:
        return search.not_begun()
    status = read.status(job.folder)
    code = status.exit_code if status.status == "failed" else KILLED
    return search.without_value(trial, code, masked(status.complaint, search.masks))
