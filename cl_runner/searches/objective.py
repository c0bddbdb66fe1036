"""What a search maximises: the mean accuracy on validation samples over the tasks seen so far.

In regression, the negated mean squared error. Test samples play no part.
"""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

from cl_runner.errors import ConfigError
from cl_runner.run_folder import read
from cl_runner.run_folder.events import Evaluation
from cl_runner.run_folder.outcome import Results


def value(results: Results) -> float:
    """The objective of a complete run, after its last task. Raises ConfigError if a task has no
    validation samples."""
    if results.objective is None:
        key, allowed = "dataset.validation_fraction", "leaves a task without validation samples"
        raise ConfigError.of(key, "as it is", allowed, "a larger one")
    return results.objective


def after_each_task(folder: Path) -> list[float]:
    """The objective after each task learned so far. The run may still be running: the last line of
    its `metrics.jsonl` may be incomplete."""
    if not (folder / "metrics.jsonl").exists():
        return []
    events = read.metrics(folder, containing=b'"evaluation"')
    return [
        event.measure.gain(fmean(event.validation))
        for event in events
        if isinstance(event, Evaluation) and event.validation is not None
    ]
