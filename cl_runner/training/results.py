"""`results.json`: one schema for every run."""

from __future__ import annotations

from typing import Any

from cl_runner.data.likelihood import Categorical
from cl_runner.data.samples import digest_of
from cl_runner.data.stream import Stream
from cl_runner.training.settings import Settings

SCHEMA = 1
MEASURED = (
    "accuracy", "accuracy_task_il", "accuracy_validation", "accuracy_curve",
    "accuracy_before_learning", "accuracy_untrained", "mse", "mse_validation", "mse_curve",
    "metrics_are_of", "average_accuracy", "overall_accuracy", "average_incremental_accuracy",
    "overall_incremental_accuracy", "learning_accuracy", "forgetting", "backward_transfer",
    "forward_transfer", "intransigence", "min_accuracy", "stability_gap", "average_mse",
    "mse_growth",
)  # fmt: skip
"""Every run has all of these; what does not apply is null."""


def compose(
    settings: Settings,
    stream: Stream,
    names: dict[str, str],
    *,
    measured: dict[str, Any],
    alarms: list[str],
    cost: dict[str, Any],
    environment: dict[str, Any],
) -> dict[str, Any]:
    """What the file holds; `measured` are the matrices and metrics of the evaluator."""
    return {
        "schema": SCHEMA,
        **{key: names[key] for key in ("experiment", "dataset", "model", "strategy", "optimizer")},
        "seed": settings.seed,
        "conventions": conventions(settings, stream),
        "tasks": described(stream),
        **dict.fromkeys(MEASURED),
        **measured,
        "alarms": alarms,
        "cost": cost,
        "environment": environment,
    }


def described(stream: Stream) -> list[dict[str, Any]]:
    """Each task: what it is of, and what it is tested on."""
    return [
        {
            "name": t.name,
            "classes": t.labels if isinstance(t.likelihood, Categorical) else None,
            "train": len(t.train),
            "test": len(test),
            "test_sha256": digest_of(test),
        }
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
