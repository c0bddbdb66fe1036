"""What a search maximises: accuracy on validation samples of the tasks seen so far.

Test samples have no say. In regression it is the mean squared error, negated. Both are the mean
over the tasks so far: after each task, and in the end after the last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from cl_runner.errors import ConfigError
from cl_runner.run_folder import read


def value(results: dict[str, Any]) -> float:
    """The objective after the last task, of what a finished run's `results.json` holds."""
    measure = "mse" if results["metrics_are_of"] == "mse" else "accuracy"
    rows = results[f"{measure}_validation"]
    if rows is None:
        raise ConfigError.of(
            "dataset.validation_fraction",
            "as it is",
            "leaves a task without validation samples",
            "a larger one",
        )
    return _score(rows[-1], measure)


def after_each_task(folder: Path) -> list[float]:
    """The objective after each task that the `metrics.jsonl` of a run tells of, also of one under
    way: its last line may be torn."""
    if not (folder / "metrics.jsonl").exists():
        return []
    events = read.metrics(folder, containing=b'"evaluation"')
    return [
        _score(event[f"{measure}_validation"], measure)
        for event in events
        for measure in ("accuracy", "mse")
        if f"{measure}_validation" in event
    ]


def _score(row: Sequence[float | None], measure: str) -> float:
    """Of one row of the validation matrix; above the diagonal it has None."""
    mean = fmean(entry for entry in row if entry is not None)
    return -mean if measure == "mse" else mean
