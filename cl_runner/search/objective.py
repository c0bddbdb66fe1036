"""What a search maximises: what is measured on validation samples of the tasks seen so far.

Test samples have no say. It is the mean over the tasks so far, after each task and in the end after
the last one: of accuracies, or of mean squared errors, negated.
"""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

from cl_runner.errors import ConfigError
from cl_runner.run_folder import read
from cl_runner.run_folder.events import Evaluation
from cl_runner.run_folder.outcome import Results


def value(results: Results) -> float:
    """The objective after the last task of a run that is complete."""
    if results.validation_mean is None:
        raise ConfigError.of(
            "dataset.validation_fraction",
            "as it is",
            "leaves a task without validation samples",
            "a larger one",
        )
    return results.measure.gain(results.validation_mean)


def after_each_task(folder: Path) -> list[float]:
    """The objective after each task that a run has learned so far, one under way included: the last
    line of its `metrics.jsonl` may be torn."""
    if not (folder / "metrics.jsonl").exists():
        return []
    events = read.metrics(folder, containing=b'"evaluation"')
    return [
        event.measure.gain(fmean(event.validation))
        for event in events
        if isinstance(event, Evaluation) and event.validation is not None
    ]
