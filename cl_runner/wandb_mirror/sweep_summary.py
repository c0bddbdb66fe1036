"""The summary run of a sweep in W&B: a table of its jobs, and the report's figures."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cl_runner.config.overrides import last_part
from cl_runner.errors import first_line
from cl_runner.jobs.job import Job
from cl_runner.jobs.ledger import jobs_in
from cl_runner.report.compare.runs import Run, read
from cl_runner.run_folder import read as files
from cl_runner.run_folder.read import DONE
from cl_runner.wandb_mirror.late import check_writable, is_wandb, replace_earlier, tracker_of
from cl_runner.wandb_mirror.mirror import WandB, final_metrics

Value = float | str | None
"""A cell of a W&B table."""


def mirror_sweep(folder: Path, node: Mapping[str, Any]) -> None:
    """Make the summary run at the end of a sweep whose jobs have this tracker. If that fails, print
    one line."""
    if not is_wandb(node):
        return
    try:
        check_writable(folder)
        summary_run(folder, tracker_of(node), folder)
    except Exception as error:
        remedy = f"cl-wandb {shlex.quote(str(folder))}"
        print(f"W&B has no summary of the sweep: {first_line(error)}; {remedy}", file=sys.stderr)


def summary_run(folder: Path, tracker: WandB, place: Path) -> None:
    """Make the summary run, in the group of the sweep.

    Its id is that of the sweep, so a later one replaces it. Raises what W&B raises.
    """
    import wandb

    jobs, runs, ledger = jobs_in(folder), read([folder]), files.ledger(folder)
    name = ledger.sweep
    run = tracker.start(
        place,
        tracker.mode,
        group=tracker.group or name,
        job_type="sweep",
        id=f"{ledger.id or name}-sweep",
        name=f"{name} summary",
        tags=tracker.tags,
        config={"sweep": name, "jobs": len(jobs)},
    )
    try:
        columns, rows = _jobs(jobs, runs)
        run.log({"jobs": wandb.Table(columns=list(columns), data=rows)})
        if figures := _figures(runs):
            run.log(figures)
    finally:
        complete = all(job.state == DONE for job in jobs)
        run.finish(exit_code=0 if complete else 1)
    replace_earlier(place, run)


def _jobs(jobs: Sequence[Job], runs: Sequence[Run]) -> tuple[list[str], list[list[Value]]]:
    """The columns and rows of the table. None: a job has no such value."""
    of_folder = {run.folder: run for run in runs}
    rows = [_row(job, of_folder[job.folder]) for job in jobs]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    typed = [_of_one_type([row.get(column) for row in rows]) for column in columns]
    return columns, [list(row) for row in zip(*typed, strict=True)]


def _row(job: Job, run: Run) -> dict[str, Value]:
    """A job's strategy, seed, varied settings, state and final metrics."""
    fixed = {"strategy": run.names.get("strategy"), "seed": run.seed}
    metrics = final_metrics(run.results) if run.complete else {}
    swept = {last_part(key): value for key, value in job.varied.items()}
    return {"job": job.folder.name, **fixed, **swept, "state": run.state, **metrics}


def _of_one_type(column: Sequence[Value]) -> list[Value]:
    """As numbers if all are, else as text: each column of a W&B table has one type."""
    try:
        return [None if cell is None else float(cell) for cell in column]
    except ValueError:
        return [None if cell is None else str(cell) for cell in column]


def _figures(runs: Sequence[Run]) -> dict[str, Any]:
    """The report's figures of the sweep, as W&B images."""
    import wandb

    from cl_runner.report.compare.sorting import sections
    from cl_runner.report.render.drawings import of_section
    from cl_runner.report.render.figures import picture

    return {
        f"{section.title}: {drawing.name}": wandb.Image(picture(drawing.figure))
        for section in sections(runs)
        if section.measured
        for drawing in of_section(section)
    }
