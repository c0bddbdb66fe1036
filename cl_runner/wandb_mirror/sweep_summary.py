"""What W&B shows of a whole sweep: one run with the table of its jobs and the report's figures."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cl_runner.errors import first_line
from cl_runner.jobs.job import last_part
from cl_runner.run_folder import read
from cl_runner.run_folder.plain import Damaged
from cl_runner.run_folder.read import DAMAGED, DONE, state_of
from cl_runner.run_folder.schemas import Job
from cl_runner.wandb_mirror.late import check_writable, is_wandb, replace_earlier, tracker_of
from cl_runner.wandb_mirror.mirror import WandB, final_metrics

Value = float | str | None
"""In a table of W&B."""


def mirror_sweep(folder: Path, node: Mapping[str, Any]) -> None:
    """The summary run at the end of a sweep whose jobs have this tracker. Whatever goes wrong
    becomes one line."""
    if not is_wandb(node):
        return
    try:
        check_writable(folder)
        summary_run(folder, tracker_of(node), folder)
    except Exception as error:
        remedy = f"cl-wandb {shlex.quote(str(folder))}"
        print(f"W&B has no summary of the sweep: {first_line(error)}; {remedy}", file=sys.stderr)


def summary_run(folder: Path, tracker: WandB, place: Path) -> None:
    """One W&B run in the group of the sweep: all its jobs as a table, and the report's figures.

    Its id is that of the sweep, so that one made later takes its place. Raises what W&B raises.
    """
    import wandb

    ledger = read.ledger(folder)
    name, jobs = ledger.sweep, ledger.jobs
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
        columns, rows = _jobs(folder, jobs)
        run.log({"jobs": wandb.Table(columns=list(columns), data=rows)})
        if figures := _figures(folder):
            run.log(figures)
    finally:
        complete = all(state_of(folder / job.folder) == DONE for job in jobs)
        run.finish(exit_code=0 if complete else 1)
    replace_earlier(place, run)


def _jobs(folder: Path, jobs: Sequence[Job]) -> tuple[list[str], list[list[Value]]]:
    """The table of a sweep: columns and rows; what a job has not come to is None."""
    rows = [_job(folder / job.folder, job.varied) for job in jobs]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    typed = [_of_one_type([row.get(column) for row in rows]) for column in columns]
    return columns, [list(row) for row in zip(*typed, strict=True)]


def _job(folder: Path, varied: Mapping[str, str]) -> dict[str, Value]:
    """One job's row: what varies, seed, state, strategy, final metrics."""
    state = state_of(folder)
    strategy, seed, metrics = None, None, dict[str, float]()
    try:
        strategy = read.status(folder).names.get("strategy")
        seed = (read.config(folder) or {}).get("seed")
        metrics = final_metrics(read.results(folder)) if state == DONE else {}
    except Damaged:
        state = DAMAGED
    swept = {last_part(key): value for key, value in varied.items()}
    about = {"job": folder.name, "strategy": strategy, "seed": seed}
    return {**about, **swept, "state": state, **metrics}


def _of_one_type(column: Sequence[Value]) -> list[Value]:
    """Numbers, if all are: W&B's tables have a type for each column."""
    try:
        return [None if cell is None else float(cell) for cell in column]
    except ValueError:
        return [None if cell is None else str(cell) for cell in column]


def _figures(folder: Path) -> dict[str, Any]:
    """The report's figures of the sweep, as W&B's images."""
    import wandb

    from cl_runner.report.compare.runs import read
    from cl_runner.report.compare.sorting import sections
    from cl_runner.report.render.drawings import of_section
    from cl_runner.report.render.figures import picture

    found = [section for section in sections(read([folder])) if section.measured]
    return {
        f"{section.title}: {drawing.name}": wandb.Image(picture(drawing.figure))
        for section in found
        for drawing in of_section(section)
    }
