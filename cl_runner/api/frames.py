"""Runs as pandas data frames, one row for each run or for each number of a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cl_runner.errors import MISSING, ConfigError
from cl_runner.extras import install
from cl_runner.metrics import METRICS
from cl_runner.report.compare.runs import Run
from cl_runner.report.compare.sorting import sections

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("strategy", "dataset", "model", "optimizer")


def wide(runs: Sequence[Run]) -> pd.DataFrame:
    """A row for each run: what it is, and a column for each metric, empty where it has none."""
    described = _described(runs)
    rows = [
        {
            **described[run.folder],
            **{name: None if r is None else r.metrics.get(name) for name in METRICS},
            "seconds": None if r is None else r.cost.seconds,
        }
        for run in runs
        for r in [run.outcome]
    ]
    frame = _frame(rows)
    numbers = {name: "float64" for name in (*METRICS, "seconds") if rows}
    return frame.astype(numbers)


def long(runs: Sequence[Run]) -> pd.DataFrame:
    """A row for each number of the matrix of each complete run: `measure` is the name of the matrix
    in `results.json`, `value` the number for `task` after `after_task`, counted from 1."""
    described = _described(runs)
    rows = []
    for run in runs:
        if run.outcome is None:
            continue
        names = [task.name for task in run.results.tasks]
        for t, row in enumerate(run.results.matrix, start=1):
            for k, value in enumerate(row[:t], start=1):
                number = {"after_task": t, "task": k, "task_name": names[k - 1], "value": value}
                measure = {"measure": run.results.metrics_are_of}
                rows.append({**described[run.folder], **measure, **number})
    return _frame(rows)


def _described(runs: Sequence[Run]) -> dict[Any, dict[str, Any]]:
    """For each folder: its name, state, parts and seed, and the settings that differ."""
    varied = {run.folder: group.varied for section in sections(runs)
              for group in section.groups for run in group.runs}  # fmt: skip
    differing = dict.fromkeys(key for settings in varied.values() for key in settings)
    keys = [key for key in differing if key not in PARTS]
    return {
        run.folder: {
            "run": run.name,
            "folder": str(run.folder),
            "state": run.state,
            **{part: run.option(part) for part in PARTS},
            "seed": run.seed,
            **{key: varied[run.folder].get(key) for key in keys},
        }
        for run in runs
    }


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    try:
        import pandas as pd
    except ModuleNotFoundError:
        raise ConfigError.of("pandas", MISSING, "is not installed", install("pandas")) from None
    return pd.DataFrame(rows)
