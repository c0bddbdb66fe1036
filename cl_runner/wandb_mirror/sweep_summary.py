"""The summary run of a sweep in W&B: a table of its jobs, and what the report says of them."""

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
from cl_runner.wandb_mirror.panels import Value, in_columns, of_sweep


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
    """Make the summary run, in the group of the sweep: its jobs and what `cl-report` says.

    Its id is that of the sweep, so a later one replaces it. Raises what W&B raises.
    """
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
        run.log({"Jobs": _jobs(jobs, runs)})
        run.log(of_sweep(runs))
    finally:
        complete = all(job.state == DONE for job in jobs)
        run.finish(exit_code=0 if complete else 1)
    replace_earlier(place, run)


def _jobs(jobs: Sequence[Job], runs: Sequence[Run]) -> Any:
    """The table of jobs. None: a job has no such value."""
    of_folder = {run.folder: run for run in runs}
    rows = [_row(job, of_folder[job.folder]) for job in jobs]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return in_columns(columns, [[row.get(column) for column in columns] for row in rows])


def _row(job: Job, run: Run) -> dict[str, Value]:
    """A job's strategy, seed, varied settings, state and final metrics."""
    fixed = {"strategy": run.names.get("strategy"), "seed": run.seed}
    metrics = final_metrics(run.results) if run.complete else {}
    swept = {last_part(key): value for key, value in job.varied.items()}
    return {"job": job.folder.name, **fixed, **swept, "state": run.state, **metrics}
