"""Jobs are followed by what their folders say; what they print themselves is dropped."""

from __future__ import annotations

import itertools
import json
import os
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from planted_runs import document

from cl_runner.errors import RunError
from cl_runner.jobs.countdown import Countdown
from cl_runner.jobs.following import Following, measured
from cl_runner.jobs.job import Job
from cl_runner.jobs.launchers import Here
from cl_runner.run_folder.files import locked
from cl_runner.run_folder.outcome import Results

TIMES = itertools.count(1)
R = [[0.9, None], [0.2, 0.8]]


def left(folder: Path, status: str, **more: object) -> None:
    """Write what a job in this state has written, at a time of its own."""
    folder.mkdir(exist_ok=True)
    file = folder / "status.json"
    file.write_text(json.dumps({"status": status, **more}))
    os.utime(file, ns=(0, next(TIMES)))


def complete(folder: Path, *warnings: str) -> None:
    log = "".join(f"2026-01-31 12:00:00,000 WARNING {text}\n" for text in warnings)
    with (folder / "log.txt").open("a") as file:
        file.write(f"2026-01-31 12:00:00,000 INFO task 1\n{log}and a second line\n")
    (folder / "results.json").write_text(json.dumps(document(accuracy=R)))
    left(folder, "complete")


def test_each_job_that_ends_is_told_once_in_the_order_of_their_ends(tmp_path: Path, capsys) -> None:
    jobs = [Job(tmp_path / str(n), {"seed": str(n)}, []) for n in range(4)]
    left(jobs[1].folder, "failed", error="of an earlier command")
    with Countdown(4, 2) as countdown:
        following = Following(jobs, countdown, lambda job: job.label)
        following.look()
        with locked(jobs[2].folder):
            left(jobs[2].folder, "running")
            following.look()
            assert list(countdown.running) == [jobs[2].folder]
            complete(jobs[2].folder)
        following.look()
        following.look()
        left(jobs[1].folder, "failed", error="diverged: nan\nand more", exit_code=3)
        left(jobs[0].folder, "running")  # nobody works on it: killed
        following.look()
        following.finish()
    assert capsys.readouterr().out.splitlines() == [
        "1/4 seed=2: 50.0 %, forgetting 70.0, 1 s, about 1 s left",
        "2/4 seed=1: failed with exit code 3: diverged: nan",
        "3/4 seed=0: killed",
    ]


def test_a_kind_of_warning_is_shown_once(tmp_path: Path, capsys) -> None:
    """Tasks and numbers do not make another kind. What an earlier command logged is old."""
    jobs = [Job(tmp_path / str(n), {"seed": str(n)}, []) for n in range(3)]
    for job in jobs:
        job.folder.mkdir()
    (jobs[0].folder / "log.txt").write_text("2026-01-31 12:00:00,000 WARNING old\n")
    with Countdown(3, 1) as countdown:
        following = Following(jobs, countdown, lambda job: job.label)
        complete(jobs[0].folder)
        following.look()
        complete(jobs[1].folder, "ewc: 3.1e-06 in task 2", "ewc: 2e-7 in task 3", "W&B is off")
        following.look()
        complete(jobs[2].folder, "ewc: 0.1 in task 4")
        following.finish()
    told = [line for line in capsys.readouterr().out.splitlines() if "/3 " not in line]
    assert told == [
        "  warning: ewc: 3.1e-06 in task 2",
        "  warning: W&B is off",
        "2 jobs have warnings in their log.txt",
    ]


def test_a_result_is_told_in_the_units_of_its_measure() -> None:
    of_classes = Results.model_validate(document(accuracy=R, accuracy_task_il=R))
    assert measured(of_classes) == "50.0 %, forgetting 70.0, 1 s"
    regression = Results.model_validate(document(mse=[[0.5, None], [1.0, 0.25]]))
    assert measured(regression) == "average mse 0.625, mse growth 2, 1 s"
    assert measured(Results.model_validate(document(accuracy=[[0.5]]))) == "50.0 %, 1 s"


@pytest.mark.parametrize("written", [True, False])
def test_an_error_is_printed_only_if_the_folder_does_not_tell_it(
    written: bool, tmp_path: Path, capsys
) -> None:
    """Such as that another process works in it. Whatever else a job prints is dropped."""

    def job(config) -> None:
        print("to stdout")
        print("to stderr", file=sys.stderr)
        if written:
            left(tmp_path / "job", "failed", error="in use")
        raise RunError("in use")

    with pytest.raises(RunError):
        Here(job)(OmegaConf.create({"output_root": str(tmp_path), "name": "job"}))
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "" if written else "in use\n")
