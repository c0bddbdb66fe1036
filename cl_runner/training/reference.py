"""The run that intransigence is measured against. It must have the same test samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cl_runner.data.likelihood import Categorical
from cl_runner.data.stream import Stream
from cl_runner.errors import ConfigError
from cl_runner.metrics import Matrix
from cl_runner.run_folder import read
from cl_runner.run_folder.outcome_parts import Task
from cl_runner.run_folder.plain import Damaged
from cl_runner.training.results import described
from cl_runner.training.settings import Settings


def matrix_of(settings: Settings, stream: Stream) -> Matrix | None:
    """The accuracy matrix of the run in `settings.reference`.

    Raises ConfigError if there is no such run, or if it was tested on something else. Its training
    may differ in everything: strategy, model, optimizer, epochs, seed, preparation of the pictures.
    """
    if settings.reference is None:
        return None
    outline = stream.outline
    if not isinstance(outline.likelihood, Categorical):
        allowed = (
            "gives intransigence, a difference of accuracies, and regression has no accuracies"
        )
        raise ConfigError.of("reference", settings.reference, allowed, "reference=null")
    try:
        results = read.results(Path(settings.reference))
    except Damaged as error:
        allowed = f"is not the folder of a finished run: {error.reason}"
        raise ConfigError.of("reference", settings.reference, allowed) from None
    theirs = _tested_on(results.conventions["scenario"], results.metrics_are_of, results.tasks)
    here = _tested_on(outline.scenario, outline.matrix, described(stream))
    for what, ours in here.items():
        if theirs[what] != ours:
            raise _differs(settings.reference, results.dataset, what, theirs[what], ours)
    return results.matrix


def _tested_on(scenario: str, measure: str, tasks: Sequence[Task]) -> dict[str, Any]:
    """Everything that must agree; first the number of tasks, then what each of them has."""
    named = {f"task {n}": task for n, task in enumerate(tasks, start=1)}
    return {
        "scenario": scenario,
        "kind of metric": measure,
        "number of tasks": len(tasks),
        **{f"classes of {n}": task.classes for n, task in named.items()},
        **{f"number of test samples of {n}": task.test for n, task in named.items()},
        **{f"SHA-256 of the test samples of {n}": t.test_sha256 for n, t in named.items()},
    }


def _differs(folder: str, dataset: str, what: str, theirs: Any, ours: Any) -> ConfigError:
    """The error that names what differs, each side cut to fit one line."""
    allowed = (
        f"that run (dataset={dataset}) was tested on something else, {what}: "
        f"{theirs!s:.60} there, {ours!s:.60} here"
    )
    hint = "use a run with the same dataset= settings, and the same seed= if the tasks depend on it"
    return ConfigError.of("reference", folder, allowed, hint)
