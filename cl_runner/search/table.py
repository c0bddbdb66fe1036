"""What a search has found: a line a trial, and the best one in a sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from cl_runner.config.overrides import last_part
from cl_runner.text import aligned, number

STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "unfinished",
    TrialState.WAITING: "unfinished",
}


def best(trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """The complete trial of the highest value, the first of equals."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return max(complete, key=lambda trial: trial.values[0], default=None)


def table(trials: Sequence[FrozenTrial], keys: Sequence[str], measure: str) -> str:
    """Settings, state, value, folder and error of each trial; how many are in which state.

    measure: of what the value is, accuracy or mse."""
    chosen = best(trials)
    rows = []
    for trial in trials:
        done = trial.state == TrialState.COMPLETE
        rows.append(
            [
                f"{trial.number}{' (best)' if trial is chosen else ''}",
                *(_short(trial.params.get(key, "")) for key in keys),
                state(trial),
                shown(trial.values[0], measure) if done else "–",
                trial.user_attrs.get("folder", ""),
                trial.user_attrs.get("error", ""),
            ]
        )
    unit = "mse" if measure == "mse" else "%"
    header = ["trial", *map(last_part, keys), "state", f"validation {unit}", "folder", "error"]
    counts = Counter(map(state, trials))
    told = ", ".join(f"{count} {word}" for word, count in counts.items())
    return f"{aligned(header, rows)}\n{told}"


def verdict(trial: FrozenTrial, measure: str, folder: Path) -> str:
    """The best trial in a sentence, and where its run is."""
    unit = "mean squared error" if measure == "mse" else "%"
    value = f"{shown(trial.values[0], measure)} {unit} on validation after the last task"
    where = folder / trial.user_attrs["folder"]
    return f"best: trial {trial.number}, {value}\nits folder: {where}"


def state(trial: FrozenTrial) -> str:
    """In a word; one that was stopped with an error has diverged."""
    if trial.state == TrialState.PRUNED and "error" in trial.user_attrs:
        return "diverged"
    return STATES[trial.state]


def shown(value: float, measure: str) -> str:
    """A value of the objective as people read it: errors are negated there."""
    return number(-value if measure == "mse" else value, measure)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
