"""The default launcher: a job that dies ends no other, and each job gets a signal once."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from processes import exit_code, fork, until
from sweep_folders import TINY, results, states

from cl_runner.errors import Interrupted
from cl_runner.jobs.in_turn import in_child
from cl_runner.run_folder.files import is_locked
from cl_runner.training import signals as interrupt

TRUST = "trusted_targets=[faulty]"
ENDING = ("-m", *TINY, TRUST, "strategy._target_=faulty.Ending",
          "+strategy.end=abort,exit,leave,none", "name=mine")  # fmt: skip
LONG = ("-m", *TINY, "epochs=9999", "seed=1,2", "name=mine")
JOBS = Path("outputs", "sweeps", "mine")


def statuses(folder: Path) -> list[str]:
    files = sorted((folder / JOBS).glob("0*/status.json"))
    return [json.loads(file.read_text())["status"] for file in files]


def trains(folder: Path) -> bool:
    return any('"step"' in file.read_text() for file in (folder / JOBS).glob("0*/metrics.jsonl"))


def test_a_job_that_ends_its_process_ends_no_other_and_is_run_again(
    cl_train_beside, cl_train_here, tmp_path: Path, monkeypatch
) -> None:
    assert exit_code(cl_train_beside(*ENDING)) == 1
    assert states((tmp_path / "stdout").read_text()) == {"killed": 2, "failed": 1, "complete": 1}
    errors = (tmp_path / "stderr").read_text()
    assert "Traceback" not in errors and "launcher error" not in errors
    again = cl_train_here(*ENDING)  # this process survives, too
    assert again.returncode == 1
    assert states(again.stdout) == {"killed": 2, "failed": 1, "already complete": 1}
    monkeypatch.setenv("GO_ON", "1")
    last = cl_train_here(*ENDING)
    assert last.returncode == 0 and states(last.stdout) == {"complete": 3, "already complete": 1}
    whole = cl_train_here("-m", *TINY, "seed=0", "name=whole")
    assert whole.returncode == 0
    assert results(tmp_path / JOBS) == 4 * results(tmp_path / "outputs" / "sweeps" / "whole")


@pytest.mark.parametrize(
    ("send", "number", "code"),
    [(os.kill, "SIGTERM", 143), (os.kill, "SIGUSR1", 143), (os.killpg, "SIGINT", 130)],
    ids=["the sweep alone", "the sweep alone by Slurm", "Ctrl-C reaches all"],
)
def test_a_signal_saves_the_job_and_begins_no_other(
    cl_train_beside, tmp_path: Path, send, number: str, code: int
) -> None:
    child = cl_train_beside(*LONG, first=os.setpgrp)
    until(lambda: trains(tmp_path), child)
    send(child, signal.Signals[number])
    assert exit_code(child) == code
    assert statuses(tmp_path) == ["interrupted"]
    assert (tmp_path / "stderr").read_text().count("saving at the end of this step") == 1
    assert "1 interrupted, 1 missing" in (tmp_path / "stdout").read_text()


def test_a_sweep_that_is_killed_leaves_no_job_at_work(cl_train_beside, tmp_path: Path) -> None:
    child = cl_train_beside(*LONG)
    until(lambda: trains(tmp_path), child)
    (job,) = (tmp_path / JOBS).glob("0*/")
    assert is_locked(job)
    os.kill(child, signal.SIGKILL)
    assert exit_code(child) == -signal.SIGKILL
    other = fork()
    if other == 0:
        signal.pause()
    try:
        until(lambda: not is_locked(job), other)
    finally:
        os.kill(other, signal.SIGKILL)
        exit_code(other)
    assert statuses(tmp_path) == ["interrupted"] and list(job.glob("checkpoint/*.ckpt"))


@pytest.mark.parametrize(
    ("heard", "forwarded", "second"),
    [
        (1, 0, False),  # sent to the job alone
        (2, 0, True),
        (1, 1, False),  # sent to the sweep alone
        (2, 1, False),  # sent to both, as by a terminal
        (2, 2, True),
        (3, 2, True),  # sent to both, twice
        (3, 1, True),  # to both, and then to the job alone
    ],
)
def test_what_a_job_takes_for_a_second_signal(heard: int, forwarded: int, second: bool) -> None:
    """heard: how many signals the job gets; forwarded: how many the sweep has passed on."""
    job = fork()
    if job == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        interrupt.Signals.forwarded = bytes([forwarded])
        with interrupt.Signals() as signals:
            for _ in range(heard):
                os.kill(os.getpid(), signal.SIGINT)
            os._exit(0 if signals.received == signal.SIGINT else 70)
    assert exit_code(job) == (130 if second else 0)


def test_a_signal_before_the_run_begins_ends_the_sweep(tmp_path: Path) -> None:
    """Nothing catches it in the child yet, but the parent was asked to stop."""

    def asked() -> int:
        os.kill(os.getppid(), signal.SIGTERM)
        signal.pause()
        return 0

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted) as stop:
        in_child(asked)
    assert stop.value.code == 143 and signal.getsignal(signal.SIGTERM) is before
    assert in_child(lambda: os.kill(os.getpid(), signal.SIGTERM) or 0) == -signal.SIGTERM
    assert in_child(lambda: 3) == 3


def test_the_sweep_itself_leaves_gpus_alone(cl_train_here, tmp_path: Path, monkeypatch) -> None:
    """CUDA cannot be used in a process forked from one that has asked for it."""

    def asked() -> bool:
        with (tmp_path / "asked").open("a") as file:
            print(os.getpid(), file=file)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", asked)
    assert cl_train_here("-m", *TINY, "seed=0,1").returncode == 0
    processes = set(map(int, (tmp_path / "asked").read_text().split()))
    assert len(processes) == 2 and os.getpid() not in processes
