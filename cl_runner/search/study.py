"""The trials, kept by optuna in `study.db`: every call to it is made here, one at a time."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from threading import Lock
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from cl_runner.errors import ConfigError, RunError, StorageError, first_line
from cl_runner.randomness import seed_of
from cl_runner.run_folder.plain import Damaged
from cl_runner.search.space import Params, Space

FILE = "study.db"
STARTUP = 5
"""No trial is pruned before so many are complete."""
OF_THE_DISK = tuple(f"SQLITE_{word}" for word in ("FULL", "IOERR", "READONLY", "CANTOPEN", "BUSY"))
"""What SQLite calls errors that are not the file's own."""


class BelowTheMedian(optuna.pruners.BasePruner):
    """Prunes a trial whose value after a task is below the median of the complete trials' values
    after the same task.

    Optuna's own MedianPruner compares the best value that a trial ever had. The mean over the tasks
    so far is best after the first task and falls from there, so that it would never prune.
    """

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        task = trial.last_step
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        others = [t.intermediate_values[task] for t in complete if task in t.intermediate_values]
        if task is None or len(others) < STARTUP:
            return False
        return trial.intermediate_values[task] < median(others)


@contextmanager
def kept_in(folder: Path) -> Iterator[None]:
    """Raise StorageError where there is no room or no right to read or write its file, Damaged
    where the file is what is wrong."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = error.__cause__ or error
        word = getattr(getattr(cause, "orig", None), "sqlite_errorname", "")
        if not word.startswith(OF_THE_DISK):
            raise Damaged(folder / FILE, first_line(cause)) from None
        raise StorageError(f"storage error: {folder / FILE}: {first_line(cause)}") from None


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Whatever else optuna raises on rows that it did not write is Damaged, too."""
    try:
        yield
    except (RunError, SQLAlchemyError, StorageInternalError):
        raise
    except Exception as error:
        raise Damaged(folder / FILE, first_line(error)) from None


@dataclass
class Trial:
    """One under way. reported: the tasks after which its value is known to the study; judged:
    those after which it has been asked whether it is to go on."""

    asked: optuna.Trial
    params: Params
    reported: int
    judged: int = 0

    @property
    def number(self) -> int:
        return self.asked.number


class Study:
    """In a folder that this process has locked; so a trial under way of an earlier process is
    nobody's, and the next one to be worked on."""

    def __init__(self, folder: Path, space: Space, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.space, self.seed, self.lock = space, seed, Lock()
        self.folder = folder
        with _readable(folder):
            self.study = optuna.create_study(
                study_name="search",
                storage=URL.create("sqlite", database=str(folder / FILE)).render_as_string(),
                direction="maximize",
                pruner=BelowTheMedian(),
                load_if_exists=True,
            )
            self._refuse_changes(folder)
            for trial in self._trials():
                _check(trial, space)
            self.left = self._trials(TrialState.RUNNING)

    def next(self, budget: int) -> Trial | None:
        """One that was left, or a new one while there are fewer than the budget, all told."""
        with self.lock, _readable(self.folder):
            left = self.left.pop(0) if self.left else None
            if left is None and len(self._trials()) >= budget:
                return None
            number = len(self._trials()) if left is None else left.number
            # A function of the trial's number: a search that is continued goes on with the points
            # of one that was not interrupted, where a sampler of one seed would repeat its first.
            seed = seed_of(self.seed, number, "search") % 2**32
            self.study.sampler = optuna.samplers.TPESampler(seed=seed)
            # One that was left is taken up; optuna itself could only copy it into a new one.
            asked = optuna.Trial(self.study, left._trial_id) if left else self.study.ask()
            params = {key: _suggested(asked, key, d) for key, d in self.space.searched.items()}
            return Trial(asked, params, len(left.intermediate_values) if left else 0)

    def note(self, trial: Trial, **words: str) -> None:
        """Keep a word on it: `folder`, `error`."""
        with self.lock:
            for name, said in words.items():
                trial.asked.set_user_attr(name, said)

    def report(self, trial: Trial, values: Sequence[float]) -> None:
        """Its value after each task so far."""
        with self.lock:
            for task in range(trial.reported, len(values)):
                trial.asked.report(values[task], task)
            trial.reported = max(trial.reported, len(values))

    def is_to_stop(self, trial: Trial, values: Sequence[float], tasks: int) -> bool:
        """Whether its value after a task is below the median. Each task is judged once and in its
        turn, the last one never: the trial is at its end then."""
        for task in range(trial.judged, min(len(values), tasks - 1)):
            trial.judged = task + 1
            self.report(trial, values[: task + 1])
            with self.lock:
                if trial.asked.should_prune():
                    return True
        return False

    def complete(self, trial: Trial, values: Sequence[float], value: float) -> None:
        self.report(trial, values)
        with self.lock:
            self.study.tell(trial.asked, value)

    def prune(self, trial: Trial) -> None:
        """Known to be bad: the sampler stays away."""
        with self.lock:
            self.study.tell(trial.asked, state=TrialState.PRUNED)

    def fail(self, trial: Trial) -> None:
        """Nothing is known: the sampler leaves it out."""
        with self.lock:
            self.study.tell(trial.asked, state=TrialState.FAIL)

    def trials(self) -> list[FrozenTrial]:
        with self.lock:
            return self._trials()

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states or None)

    def _refuse_changes(self, folder: Path) -> None:
        """Raise ConfigError if the folder's search is over another space or with other settings."""
        mine = self.space.identity()
        before = self.study.user_attrs.get("search")
        if before is None:
            self.study.set_user_attr("search", json.dumps(mine))
            return
        differ = sorted(set(json.loads(before)) ^ set(mine))
        if differ:
            allowed = f"already contains another search, which differs in {', '.join(differ)}"
            raise ConfigError.of("--name", folder.name, allowed, "another --name")


def _check(trial: FrozenTrial, space: Space) -> None:
    """Raise ValueError unless it is a trial of this search, with a run beside the study."""
    folder, error = (trial.user_attrs.get(name, "") for name in ("folder", "error"))
    told = trial.state == TrialState.COMPLETE
    values = [*(trial.values or ()), *trial.intermediate_values.values()]
    if (
        not isinstance(folder, str)
        or Path(folder).name != folder
        or folder == ".."
        or not isinstance(error, str)
        or (told and not (folder and trial.values and trial.params.keys() == space.searched.keys()))
        or not trial.params.keys() <= space.searched.keys()
        or not all(math.isfinite(value) for value in values)
    ):
        raise ValueError(f"trial {trial.number} does not belong to this search")


def _suggested(trial: optuna.Trial, key: str, distribution: BaseDistribution) -> Any:
    """The trial's value: drawn now, or as it was drawn by an earlier process."""
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(key, distribution.choices)
    if isinstance(distribution, IntDistribution):
        low, high, step = distribution.low, distribution.high, distribution.step
        return trial.suggest_int(key, low, high, step=step, log=distribution.log)
    assert isinstance(distribution, optuna.distributions.FloatDistribution)
    return trial.suggest_float(key, distribution.low, distribution.high, log=distribution.log)
