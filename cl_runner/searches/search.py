"""A running search: takes trials from the study, trains them in child processes, reports back."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Lock

from optuna.trial import TrialState

from cl_runner.config import search_path
from cl_runner.config.command_line import quoted
from cl_runner.config.identity import settings_digest
from cl_runner.config.overrides import last_part
from cl_runner.errors import ConfigError, DataError, Diverged, RunError, StorageError
from cl_runner.hidden import masked
from cl_runner.jobs.child import Child
from cl_runner.jobs.countdown import Countdown
from cl_runner.jobs.job import Job, composed_command
from cl_runner.jobs.launch import POLL, Children, Ended, side_by_side
from cl_runner.jobs.ledger import write_ledger
from cl_runner.jobs.looking import looking
from cl_runner.jobs.stopping import withdraw_all
from cl_runner.run_folder import read
from cl_runner.run_folder.files import is_locked
from cl_runner.run_folder.read import DONE
from cl_runner.searches import objective
from cl_runner.searches.points import Point, job_of, place_of
from cl_runner.searches.space import Space
from cl_runner.searches.study import Study, Trial
from cl_runner.searches.table import short, shown
from cl_runner.text import duration

ENDED_TRIALS = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
OF_ALL_RUNS = (DataError.exit_code, StorageError.exit_code)
"""Errors that every run would meet, such as a full disk: the search stops."""
ENDED = (130, 143)
"""Interrupted after saving its state. A child that was killed has a negative code."""


class Search:
    """folder: the search's, locked by this process."""

    def __init__(self, folder: Path, space: Space, study: Study, masks: dict[str, str]) -> None:
        self.folder, self.space, self.study, self.masks = folder, space, study, masks
        self.one_at_a_time: defaultdict[str, Lock] = defaultdict(Lock)  # per settings
        self.writing = Lock()
        self.unfinished = 0  # trials whose run was interrupted, killed or never started
        withdraw_all(folder)

    def run(self, budget: int, jobs: int) -> None:
        """Run trials, `jobs` at a time, until there are `budget`, including those of earlier calls.

        Raises RunError for an error that every run would meet; running trials end first."""
        flags = search_path.words(self.space.config_dir)
        with self.counting(budget, jobs) as countdown, looking(countdown.tick):
            trials = self.next_ones(budget, countdown)
            for trial, outcome in side_by_side(trials, self._one, jobs, flags):
                self.show(trial, outcome, countdown)

    def counting(self, budget: int, jobs: int) -> Countdown:
        """Counts the trials, those of earlier calls included."""
        ended = [trial.number for trial in self.study.trials(*ENDED_TRIALS)]
        countdown = Countdown(max(budget, len(ended)), jobs, "trial")
        countdown.already(ended, "ended")
        return countdown

    def next_ones(self, budget: int, countdown: Countdown) -> Iterator[Trial]:
        """Trials until there are as many as the budget."""
        while (trial := self.study.next(budget)) is not None:
            countdown.begun(trial.number)
            yield trial

    def show(self, trial: Trial, outcome: str, countdown: Countdown) -> None:
        """Print how a trial ended."""
        params = trial.params.items()
        point = " ".join(f"{last_part(key)}={short(value)}" for key, value in params)
        trained = self.study.trials(TrialState.COMPLETE, TrialState.PRUNED)
        complete = any(other.number == trial.number for other in trained)
        label = f"trial {trial.number} {point}"
        countdown.ended(trial.number, label, outcome, complete=complete)

    def _one(self, trial: Trial, children: Children) -> str:
        """Work on one trial to its end. Returns how it ended."""
        try:
            job, point = job_of(self.space, trial.params, trial.number, self.folder)
        except ConfigError as error:
            return self.failed(trial, masked(str(error).splitlines()[0], self.masks))
        with self.one_at_a_time[settings_digest(point.config)]:
            # A trial with equal settings that ran meanwhile has made their folder.
            job = replace(job, folder=place_of(point, trial.number, self.folder))
            self.study.note(trial, folder=job.folder.name)
            with self.writing:
                write_ledger(self.folder, self.jobs())
            while is_locked(job.folder):  # a run whose search was killed is saving its state
                time.sleep(POLL)
            if job.state == DONE:
                return f"{self.complete(trial, job, point)}, already complete"
            start = time.monotonic()
            ended, pruned = self._train(trial, job, point, children)
            if ended.code == 0:
                return f"{self.complete(trial, job, point)}, {duration(time.monotonic() - start)}"
            if pruned:
                return self.prune(trial, point)
            return self.without_value(trial, ended.code, masked(ended.complaint, self.masks))

    def _train(
        self, trial: Trial, job: Job, point: Point, children: Children
    ) -> tuple[Ended, bool]:
        """How the run ended, and whether it was pruned."""
        pruned = False

        def judge(child: Child) -> None:
            nonlocal pruned
            values = objective.after_each_task(job.folder)
            if not pruned and self.study.is_to_stop(trial, values, point.tasks):
                child.interrupt()
                pruned = True

        ended = children.run(self.words(job), meanwhile=judge)
        return ended, pruned

    def words(self, job: Job) -> list[str]:
        """The settings of its command line."""
        words = composed_command(job, shared=True)
        if (job.config["tracker"] or {}).get("group", "") is None:
            words.append(f"tracker.group={quoted(self.folder.name)}")
        return words

    def complete(self, trial: Trial, job: Job, point: Point) -> str:
        """Tell the study what the complete run has reached. This and the others return it in
        words."""
        value = objective.value(read.results(job.folder))
        values = objective.after_each_task(job.folder)
        self.study.complete(trial, values, value)
        return shown(value, point.measure)

    def prune(self, trial: Trial, point: Point) -> str:
        """Tell the study that the run was stopped."""
        self.study.prune(trial)
        return f"pruned after task {trial.judged} of {point.tasks}"

    def without_value(self, trial: Trial, code: int, complaint: str) -> str:
        """Tell the study that the run ended otherwise. Raises RunError for an error that every run
        would meet. code: the run's exit code, negative if it was killed."""
        if code in OF_ALL_RUNS or (code == ConfigError.exit_code and self._nothing_known()):
            if code not in OF_ALL_RUNS:  # after those, the next call continues this trial
                self.failed(trial, complaint)
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
        return self.failed(trial, complaint)

    def not_begun(self) -> str:
        """The launcher has ended without starting the run."""
        self.unfinished += 1
        return "not started by the launcher; run the same command to start it"

    def failed(self, trial: Trial, complaint: str) -> str:
        """Tell the study that the run failed."""
        self.study.note(trial, error=complaint)
        self.study.fail(trial)
        return f"failed: {complaint}"

    def _nothing_known(self) -> bool:
        return not any(trial.intermediate_values for trial in self.study.trials())

    def jobs(self) -> list[Job]:
        """One job for each run folder that the study knows."""
        space = self.space
        points = {
            trial.user_attrs["folder"]: trial.params
            for trial in self.study.trials()
            if "folder" in trial.user_attrs
        }
        return [
            Job(self.folder / folder, space.words(params), space.point(params))
            for folder, params in points.items()
        ]
