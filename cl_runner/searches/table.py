"""The results of a search: one line per trial, and the best one in a sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from cl_runner.config.overrides import last_part
from cl_runner.measures import Measure
from cl_runner.searches.found import Table

STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "unfinished",
    TrialState.WAITING: "unfinished",
}


def best(trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """The complete trial with the highest value; the first of equals."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return max(complete, key=lambda trial: trial.values[0], default=None)


def of(trials: Sequence[FrozenTrial], keys: Sequence[str], measure: Measure) -> Table:
    """Settings, state, value, folder and error of each trial; then how many are in each state.

    measure: what the value is a mean of."""
    chosen = best(trials)
    rows = []
    for trial in trials:
        done = trial.state == TrialState.COMPLETE
        rows.append(
            [
                f"{trial.number}{' (best)' if trial is chosen else ''}",
                *(short(trial.params.get(key, "")) for key in keys),
                state(trial),
                measure.unit.text(measure.gain(trial.values[0]) if done else None),
                trial.user_attrs.get("folder", ""),
                trial.user_attrs.get("error", ""),
            ]
        )
    value = f"validation {measure.unit.name}"
    columns = ["trial", *map(last_part, keys), "state", value, "folder", "error"]
    counts = Counter(map(state, trials))
    return Table(columns, rows, ", ".join(f"{count} {word}" for word, count in counts.items()))


def verdict(trial: FrozenTrial, measure: Measure, folder: Path) -> list[str]:
    """The best trial in a sentence, and where its run is."""
    value = shown(trial.values[0], measure)
    where = folder / trial.user_attrs["folder"]
    return [f"best: trial {trial.number}, {value} after the last task", f"its folder: {where}"]


def state(trial: FrozenTrial) -> str:
    """In a word. A pruned trial with an error has diverged."""
    if trial.state == TrialState.PRUNED and "error" in trial.user_attrs:
        return "diverged"
    return STATES[trial.state]


def shown(value: float, measure: Measure) -> str:
    """A value of the objective as text. Errors are negated in the objective, but not here."""
    return f"{measure.unit.text(measure.gain(value))} {measure.unit.name} on validation"


def short(value: Any) -> str:
    """A searched value with four digits, for a table or a line."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
