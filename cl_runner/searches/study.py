"""The trials, which optuna keeps in `study.db`. Every call to optuna is here, one at a time."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from threading import RLock
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from cl_runner.config.command_line import flag
from cl_runner.errors import ConfigError, RunError, StorageError, first_line
from cl_runner.randomness import seed_of
from cl_runner.run_folder.plain import Damaged
from cl_runner.searches.space import Params, Space

FILE = "study.db"
STARTUP = 5
"""No trial is pruned before this many are complete."""
OF_THE_DISK = tuple(f"SQLITE_{word}" for word in ("FULL", "IOERR", "READONLY", "CANTOPEN", "BUSY"))
"""SQLite's names of errors that do not mean a damaged file."""


class BelowTheMedian(optuna.pruners.BasePruner):
    """Prunes a trial whose value after a task is below the median of the complete trials after the
    same task.

    Optuna's MedianPruner compares the best value that a trial ever had. The mean over the tasks so
    far is best after the first task and falls from there, so that pruner would never prune.
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
    """Raise StorageError if the file cannot be read or written, Damaged if its content is wrong."""
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
    """Raise Damaged for whatever else optuna raises on rows that it did not write."""
    try:
        yield
    except (RunError, SQLAlchemyError, StorageInternalError):
        raise
    except Exception as error:
        raise Damaged(folder / FILE, first_line(error)) from None


@dataclass
class Trial:
    """A running trial."""

    asked: optuna.Trial
    params: Params
    reported: int  # after how many tasks the study knows its value
    judged: int = 0  # after how many tasks pruning was considered

    @property
    def number(self) -> int:
        return self.asked.number


class Study:
    """The study in a folder that this process has locked. A trial that is still marked as running
    was left by an earlier process, and is the next to be continued."""

    def __init__(self, folder: Path, space: Space, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.space, self.seed, self.lock = space, seed, RLock()
        self.folder = folder
        with _readable(folder):
            self.study = optuna.create_study(
                study_name="search",
                storage=URL.create("sqlite", database=str(folder / FILE)).render_as_string(),
                direction="maximize",
                pruner=BelowTheMedian(),
                load_if_exists=True,
            )
            self._refuse_changes()
            for trial in self.trials():
                _check(trial, space)
            self.left = self.trials(TrialState.RUNNING)

    def is_open(self, budget: int) -> bool:
        """Whether there is a next trial."""
        return bool(self.left) or len(self.trials()) < budget

    def next(self, budget: int) -> Trial | None:
        """A trial that was left, or a new one while there are fewer than the budget in all."""
        with self.lock, _readable(self.folder):
            left = self.left.pop(0) if self.left else None
            number = left.number if left else len(self.trials())
            if left is None and number >= budget:
                return None
            # Seeded by the trial's number: a continued search then draws the same points as one
            # that was not interrupted. A sampler with one seed would repeat its first points.
            seed = seed_of(self.seed, number, "search") % 2**32
            self.study.sampler = optuna.samplers.TPESampler(seed=seed)
            # A trial that was left is continued; optuna could only copy it into a new one.
            asked = optuna.Trial(self.study, left._trial_id) if left else self.study.ask()
            params = {key: _suggested(asked, key, d) for key, d in self.space.searched.items()}
            return Trial(asked, params, len(left.intermediate_values) if left else 0)

    def note(self, trial: Trial, **words: str) -> None:
        """Store texts about the trial: `folder`, `error`."""
        with self.lock:
            for name, text in words.items():
                trial.asked.set_user_attr(name, text)

    def report(self, trial: Trial, values: Sequence[float]) -> None:
        """Tell the study the trial's value after each task so far."""
        with self.lock:
            for task in range(trial.reported, len(values)):
                trial.asked.report(values[task], task)
            trial.reported = max(trial.reported, len(values))

    def is_to_stop(self, trial: Trial, values: Sequence[float], tasks: int) -> bool:
        """Whether the trial is to be pruned. Each task is judged once and in order; the last one
        never, because the trial ends there."""
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
        """End it as bad: the sampler avoids such points."""
        with self.lock:
            self.study.tell(trial.asked, state=TrialState.PRUNED)

    def fail(self, trial: Trial) -> None:
        """End it without a value: the sampler ignores it."""
        with self.lock:
            self.study.tell(trial.asked, state=TrialState.FAIL)

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Those in one of these states; without states, all."""
        with self.lock:
            return self.study.get_trials(deepcopy=False, states=states or None)

    def _refuse_changes(self) -> None:
        """Raise ConfigError if the folder's search has another space or other settings."""
        mine = self.space.identity()
        before = self.study.user_attrs.get("search")
        if before is None:
            self.study.set_user_attr("search", json.dumps(mine))
            return
        differ = sorted(set(json.loads(before)) ^ set(mine))
        if differ:
            allowed = f"already contains another search, which differs in {', '.join(differ)}"
            raise ConfigError.of(flag("name"), self.folder.name, allowed, f"another {flag('name')}")


def _check(trial: FrozenTrial, space: Space) -> None:
    """Raise ValueError unless the trial belongs to this search, with its run next to the study."""
    folder, error = (trial.user_attrs.get(name, "") for name in ("folder", "error"))
    complete = trial.state == TrialState.COMPLETE
    keys, searched = trial.params.keys(), space.searched.keys()
    values = [*(trial.values or ()), *trial.intermediate_values.values()]
    if (
        not isinstance(folder, str)
        or Path(folder).name != folder
        or folder == ".."
        or not isinstance(error, str)
        or (complete and not (folder and trial.values and keys == searched))
        or not keys <= searched
        or not all(math.isfinite(value) for value in values)
    ):
        raise ValueError(f"trial {trial.number} does not belong to this search")


def _suggested(trial: optuna.Trial, key: str, distribution: BaseDistribution) -> Any:
    """The trial's value: drawn now, or as drawn by an earlier process."""
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(key, distribution.choices)
    if isinstance(distribution, IntDistribution):
        low, high, step = distribution.low, distribution.high, distribution.step
        return trial.suggest_int(key, low, high, step=step, log=distribution.log)
    assert isinstance(distribution, optuna.distributions.FloatDistribution)
    return trial.suggest_float(key, distribution.low, distribution.high, log=distribution.log)
