"""Run folders with known numbers, for tests of code that reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from cl_runner.measures import MEASURES
from cl_runner.run_folder.outcome import Results

PLANTED = "<script>document.title='owned'</script>"


def run_folder(
    folder: Path,
    strategy: str,
    seed: int,
    accuracy: tuple[float, float],
    *,
    validation: tuple[float, float] | None = None,
    state: str = "complete",
    dataset: str = "digits",
    scenario: str = "class_incremental",
    memory: int = 0,
    test: int = 10_000,
    **settings: Any,
) -> Path:
    """The folder of a run of two tasks with so many test samples, with this last row of its
    matrix."""
    folder.mkdir(parents=True)
    old, new = accuracy
    config = {
        "dataset": {
            "source": {"_target_": dataset},
            "scenario": scenario,
            "validation_fraction": 0.1,
        },
        "strategy": {"_target_": f"cl_runner.{strategy}", **settings},
        "seed": seed,
        "device": "cpu",
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    error = {} if state == "complete" else {"error": f"diverged: {PLANTED}\nand more"}
    (folder / "status.json").write_text(json.dumps({"status": state, **error}))
    if state == "complete":
        measured = {"accuracy": [[0.9, None], [old, new]]}
        if validation:
            measured["accuracy_validation"] = [[0.9, None], list(validation)]
        results = document(
            strategy=strategy,
            dataset=dataset,
            seed=seed,
            conventions={"scenario": scenario, "mixing": "additive"},
            tasks=[{"name": "t", "classes": [0, 1], "train": 9, "test": test}] * 2,
            cost={**COST, "seconds": 2.0 + seed, "state_bytes": {"memory": memory}},
            **measured,
        )
        (folder / "results.json").write_text(json.dumps(results))
    return folder


COST = {"seconds": 1.0, "steps": 5, "samples_forward": 7, "samples_backward": 6,
        "peak_memory_bytes": 10**8, "state_bytes": {}}  # fmt: skip


def document(**known: Any) -> dict[str, Any]:
    """A `results.json` with these keys, one of which is a matrix; the metrics are left out."""
    measure = next(name for name in MEASURES if name in known)
    task = {"name": "t", "classes": [0, 1], "train": 9, "test": 9}
    return {
        **dict.fromkeys(("experiment", "dataset", "model", "strategy", "optimizer"), ""),
        "seed": 0,
        "conventions": {"scenario": "class_incremental"},
        "metrics_are_of": measure,
        "tasks": [task] * len(known[measure]),
        "alarms": [],
        "cost": COST,
        "environment": {"versions": {}, "device": "cpu", "threads": 1},
        **known,
    }


def outcome(**known: Any) -> Results:
    """The same as `read.results` returns it."""
    return Results.model_validate(document(**known))
