"""Run folders with known numbers, for the tests of what reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from cl_runner.training.results import MEASURED

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
    memory: int = 0,
    **settings: Any,
) -> Path:
    """A run of two tasks as it is left on the disk, with this last row of its matrix."""
    folder.mkdir(parents=True)
    old, new = accuracy
    config = {
        "dataset": {"source": {"_target_": dataset}, "validation_fraction": 0.1},
        "strategy": {"_target_": f"cl_runner.{strategy}", **settings},
        "seed": seed,
        "device": "cpu",
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    error = {} if state == "complete" else {"error": f"diverged: {PLANTED}\nand more"}
    (folder / "status.json").write_text(json.dumps({"status": state, **error}))
    if state == "complete":
        cost = {"seconds": 2.0 + seed, "steps": 5, "samples_forward": 7, "samples_backward": 6,
                "peak_memory_bytes": 10**8, "state_bytes": {"memory": memory}}  # fmt: skip
        task = {"name": "t", "classes": [0, 1], "train": 9, "test": 9}
        parts = dict.fromkeys(("experiment", "model", "optimizer"), "")
        results = {
            **dict.fromkeys(MEASURED), **parts,
            "strategy": strategy, "dataset": dataset, "seed": seed, "metrics_are_of": "accuracy",
            "tasks": [task, task], "accuracy": [[0.9, None], [old, new]], "accuracy_curve": None,
            "accuracy_validation": validation and [[0.9, None], list(validation)],
            "average_accuracy": (old + new) / 2, "forgetting": 0.9 - old, "mse_curve": None,
            "conventions": {"scenario": "class_incremental", "mixing": "additive"},
            "alarms": [], "cost": cost,
            "environment": {"versions": {}, "device": "cpu", "threads": 1},
        }  # fmt: skip
        (folder / "results.json").write_text(json.dumps(results))
    return folder
