"""`results.json` of a run that has ended, and what a terminal shows of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cl_runner.data.likelihood import Categorical
from cl_runner.data.samples import digest_of
from cl_runner.data.stream import Stream
from cl_runner.run_folder.outcome import Results, Task
from cl_runner.text import aligned, harmless
from cl_runner.training.settings import Settings


def compose(
    settings: Settings,
    stream: Stream,
    names: dict[str, str],
    *,
    measured: dict[str, Any],
    alarms: list[str],
    cost: dict[str, Any],
    environment: dict[str, Any],
) -> Results:
    """What the file holds; `measured` are the matrices and metrics of the evaluator."""
    node = {
        **{key: names[key] for key in ("experiment", "dataset", "model", "strategy", "optimizer")},
        "seed": settings.seed,
        "conventions": conventions(settings, stream),
        "tasks": described(stream),
        **measured,
        "alarms": alarms,
        "cost": cost,
        "environment": environment,
    }
    return Results.model_validate(node)


def described(stream: Stream) -> list[Task]:
    """Each task: what it is of, and what it is tested on."""
    return [
        Task(
            name=t.name,
            classes=t.labels if isinstance(t.likelihood, Categorical) else None,
            train=len(t.train),
            test=len(test),
            test_sha256=digest_of(test),
        )
        for t, test in zip(stream.tasks, stream.test, strict=True)
    ]


def conventions(settings: Settings, stream: Stream) -> dict[str, Any]:
    """Every choice of a formula, by its name."""
    return {
        "scenario": stream.outline.scenario,
        "ce_scope": settings.ce_scope,
        "reset_optimizer": settings.reset_optimizer,
        "lr_schedule": settings.lr_schedule,
        **settings.model.conventions(),
        **settings.strategy.conventions(),
    }


def summary(results: Results, folder: Path) -> str:
    """The matrix of one run, its headline metrics, alarms and folder."""
    measure, R = results.measure, results.matrix
    rows = [[f"after {t + 1}", *map(measure.unit.text, row)] for t, row in enumerate(R)]
    headline = [f"{m.title} {m.unit.text(results.metrics[m.name])}" for m in results.headline]
    lines = [
        f"{results.strategy} on {results.experiment}, seed {results.seed}: {measure.label}",
        aligned(["task", *(str(k + 1) for k in range(len(R)))], rows),
        "  ".join(headline) + f"  {results.cost.seconds:.1f} s",
        *(f"ALARM: {alarm}" for alarm in results.alarms),
        f"run folder: {folder}",
    ]
    return harmless("\n".join(lines))
