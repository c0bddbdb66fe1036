"""`results.json` of a complete run, and its summary for the terminal."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

from cl_runner.data.likelihood import Categorical
from cl_runner.data.stream import Stream
from cl_runner.evaluation.evaluator import Evaluator
from cl_runner.measures import FEW
from cl_runner.metrics import METRICS, Matrix
from cl_runner.records import BySample, Samples
from cl_runner.run_folder.outcome import Kept, Results, by_sample, samples_in
from cl_runner.run_folder.outcome_parts import Task
from cl_runner.text import aligned, harmless
from cl_runner.training.loop import Training
from cl_runner.training.settings import Settings

FOLDED = 7
"""How many of more than a few tasks the matrix on the terminal shows."""


def compose(training: Training, names: dict[str, str], reference: Matrix | None) -> Results:
    """The content of the file, for a run with these options of the config groups."""
    settings, stream = training.settings, training.stream
    node = {
        **{key: names[key] for key in ("experiment", "dataset", "model", "strategy", "optimizer")},
        "seed": settings.seed,
        "conventions": conventions(settings, stream),
        "tasks": described(stream),
        **training.evaluator.results(reference),
        "alarms": training.journal.alarms,
        "cost": training.cost.summary(),
        "environment": training.environment,
    }
    return Results.model_validate(node, context=_kept(training.evaluator))


def _kept(evaluator: Evaluator) -> Kept:
    def samples(of: Results) -> Samples | None:
        return None if of.measure.has_fits else samples_in(evaluator.arrays(), of)

    def logits(of: Results) -> BySample | None:
        return by_sample(scores, of) if (scores := evaluator.scores()) else None

    return Kept(samples, logits)


def described(stream: Stream) -> list[Task]:
    """Each task: its classes, and what it is trained and tested on."""
    names = stream.outline.class_names
    return [
        Task(
            name=t.name,
            classes=t.labels if isinstance(t.likelihood, Categorical) else None,
            class_names=[names[label] for label in t.labels] if names else None,
            train=len(t.train),
            test=len(test),
            test_sha256=digest,
        )
        for t, test, digest in zip(stream.tasks, stream.test, stream.test_sha256, strict=True)
    ]


def conventions(settings: Settings, stream: Stream) -> dict[str, Any]:
    """Each choice between formulas, by its name."""
    births = stream.outline.births(settings.ce_scope)
    return {
        "scenario": stream.outline.scenario,
        "ce_scope": settings.ce_scope,
        "one_output_layer": settings.one_output_layer or len(births) == 1,
        "reset_optimizer": settings.reset_optimizer,
        "scheduler": settings.scheduler.formula,
        **settings.model.conventions(),
        **settings.strategy.conventions(),
    }


def summary(results: Results, folder: Path) -> str:
    """The matrix of one run, its headline metrics, alarms and folder."""
    shown = [*results.headline, *(m for m in METRICS.values() if m.is_own)]
    values = [(m, results.metrics.get(m.name)) for m in shown]
    headline = [f"{m.title} {m.unit.text(v)}" for m, v in values if v is not None or not m.is_own]
    lines = [
        f"{results.strategy} on {results.experiment}, seed {results.seed}: {results.measure.label}",
        _matrix(results),
        "  ".join(headline) + f"  {results.cost.seconds:.1f} s",
        *(f"ALARM: {alarm}" for alarm in results.alarms),
        f"run folder: {folder}",
    ]
    return harmless("\n".join(lines))


def _matrix(results: Results) -> str:
    """One row after each task, one column for each; of many tasks some that are evenly spaced, and
    the mean over all."""
    R, text = results.matrix, results.measure.unit.text
    tasks, many = list(range(len(R))), len(R) > FEW
    if many:
        tasks = sorted({round(i * (len(R) - 1) / (FOLDED - 1)) for i in range(FOLDED)})
    header, rows = ["task", *(str(k + 1) for k in tasks)], []
    for t in tasks:
        mean = [text(fmean(value for value in R[t] if value is not None))] if many else []
        rows.append([f"after {t + 1}", *(text(R[t][k]) for k in tasks), *mean])
    return aligned([*header, "mean of all so far"] if many else header, rows)
