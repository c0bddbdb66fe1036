"""A search under way: trials are asked for, trained in child processes, judged and told."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path
from threading import Lock

from cl_runner.config.command_line import quoted
from cl_runner.errors import ConfigError, DataError, Diverged, RunError, StorageError
from cl_runner.hidden import masked
from cl_runner.jobs.child import Child
from cl_runner.jobs.job import Job, composed_command
from cl_runner.jobs.launch import POLL, Children, Ended, side_by_side
from cl_runner.jobs.ledger import ledger
from cl_runner.run_folder import read
from cl_runner.run_folder.files import is_locked, write
from cl_runner.run_folder.read import DONE
from cl_runner.search import objective
from cl_runner.search.points import Point, job_of
from cl_runner.search.space import Space, word
from cl_runner.search.study import Study, Trial
from cl_runner.search.table import shown

OF_ALL_RUNS = (DataError.exit_code, StorageError.exit_code)
"""What one run meets, such as a full disk, all others would meet: the search stops."""
ENDED = (130, 143)
"""Interrupted, after the state was saved; a child that was killed has a negative code."""


class Search:
    """In its folder, whose lock this process holds."""

    def __init__(self, folder: Path, space: Space, study: Study, masks: dict[str, str]) -> None:
        self.folder, self.space, self.study, self.masks = folder, space, study, masks
        self.alone: defaultdict[str, Lock] = defaultdict(Lock)  # the same settings: one at a time
        self.listing = Lock()
        self.unfinished = 0  # trials whose run was ended from outside

    def run(self, budget: int, jobs: int) -> None:
        """Until there are `budget` trials, those of earlier calls included, `jobs` at a time.

        Raises RunError where to go on makes no sense; those under way then end first."""
        trials = iter(lambda: self.study.next(budget), None)
        for trial, outcome in side_by_side(trials, self._one, jobs):
            words = ", ".join(f"{key}={word(value)}" for key, value in trial.params.items())
            print(f"[{trial.number + 1}/{budget}] {words}: {outcome}", flush=True)

    def _one(self, trial: Trial, children: Children) -> str:
        """Work on one trial to its end, and a word on it."""
        try:
            job, point = job_of(self.space, trial.params, trial.number, self.folder)
        except ConfigError as error:
            return self._failed(trial, masked(str(error).splitlines()[0], self.masks))
        with self.alone[job.folder.name]:
            self.study.note(trial, folder=job.folder.name)
            self._write_ledger()
            while is_locked(job.folder):  # the run of a search that was killed saves its state
                time.sleep(POLL)
            if job.state == DONE:
                return f"{self._complete(trial, job, point)}, already complete"
            start = time.monotonic()
            ended, pruned = self._train(trial, job, point, children)
            if ended.code == 0:
                return f"{self._complete(trial, job, point)}, {time.monotonic() - start:.0f} s"
            if pruned:
                self.study.prune(trial)
                return f"pruned after task {trial.judged} of {point.tasks}"
            return self._without_value(trial, ended.code, masked(ended.complaint, self.masks))

    def _train(
        self, trial: Trial, job: Job, point: Point, children: Children
    ) -> tuple[Ended, bool]:
        """How the run ended, and whether it was asked to because the study said so."""
        pruned = False

        def judge(child: Child) -> None:
            nonlocal pruned
            values = objective.after_each_task(job.folder)
            if not pruned and self.study.is_to_stop(trial, values, point.tasks):
                child.interrupt()
                pruned = True

        ended = children.run(self._words(job), meanwhile=judge)
        return ended, pruned

    def _words(self, job: Job) -> list[str]:
        words = composed_command(job, shared=True)
        if (job.config["tracker"] or {}).get("group", "") is None:
            words.append(f"tracker.group={quoted(self.folder.name)}")
        return words

    def _complete(self, trial: Trial, job: Job, point: Point) -> str:
        value = objective.value(read.results(job.folder))
        values = objective.after_each_task(job.folder)
        self.study.complete(trial, values, value)
        return shown(value, point.measure)

    def _without_value(self, trial: Trial, code: int, complaint: str) -> str:
        if code in OF_ALL_RUNS or (code == ConfigError.exit_code and self._nothing_known()):
            if code not in OF_ALL_RUNS:  # those go on with this trial when they are called again
                self._failed(trial, complaint)
            error = RunError(complaint)
            error.exit_code = code
            raise error
        if code == Diverged.exit_code:
            self.study.note(trial, error=complaint)
            self.study.prune(trial)
            return complaint
        if code < 0 or code in ENDED:
            self.unfinished += 1
            return "interrupted or killed; run the same command to continue it"
        return self._failed(trial, complaint)

    def _failed(self, trial: Trial, complaint: str) -> str:
        self.study.note(trial, error=complaint)
        self.study.fail(trial)
        return f"failed: {complaint}"

    def _nothing_known(self) -> bool:
        return not any(trial.intermediate_values for trial in self.study.trials())

    def _write_ledger(self) -> None:
        """`sweep.json`, as a sweep has it."""
        with self.listing:
            write(self.folder / "sweep.json", ledger(self.folder, self.jobs()))

    def jobs(self) -> list[Job]:
        """A job for each folder, as far as its settings are told in the study."""
        found: dict[str, Job] = {}
        for trial in self.study.trials():
            folder = trial.user_attrs.get("folder")
            if folder is not None:
                point = self.space.point(trial.params)
                varied = {key: word(trial.params[key]) for key in self.space.searched}
                found[folder] = Job(self.folder / folder, varied, point)
        return list(found.values())
