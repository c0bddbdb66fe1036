"""A run that is asked to stop saves its state first; rows of docs/faults.md."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from processes import exit_code, fork, until

from cl_runner.run_folder import files as storage
from cl_runner.tracking import progress
from cl_runner.tracking.tracker import RunInfo
from cl_runner.training import signals as interrupt

TINY = ("epochs=1", "batch_size=64", "model.widths=[8]", "dataset.tasks=3", "output_root=.")
TRUST = "trusted_targets=[faulty]"
SIGNALLING = (*TINY, TRUST, "strategy._target_=faulty.Signalling")
SENT_AT = 8  # the step within which they are sent; each task has 5


def checkpoints(folder: Path) -> list[str]:
    return sorted(file.name for file in (folder / "checkpoint").iterdir())


def status(folder: Path) -> str:
    return json.loads((folder / "status.json").read_text())["status"]


def continued_as_if_nothing_had_been(cl_train_here, tmp_path: Path, monkeypatch) -> bool:
    monkeypatch.setenv("GO_ON", "1")
    assert cl_train_here("resume=run", TRUST).returncode == 0
    assert cl_train_here(*TINY, "name=whole").returncode == 0
    files = ("metrics.jsonl", "predictions.npz")
    return all(
        (tmp_path / "run" / f).read_bytes() == (tmp_path / "whole" / f).read_bytes() for f in files
    )


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130), ("SIGUSR1", 143)])
def test_a_signal_within_a_step_saves_at_its_end(
    name, code, cl_train_beside, cl_train_here, tmp_path: Path, monkeypatch
) -> None:
    child = cl_train_beside(*SIGNALLING, f"+strategy.signals=[{name}]", "name=run")
    assert exit_code(child) == code
    assert status(tmp_path / "run") == "interrupted"
    assert checkpoints(tmp_path / "run")[-1] == f"task-00001-step-{SENT_AT:010}.ckpt"
    printed = (tmp_path / "stderr").read_text()
    assert f"{name}: saving at the end of this step; repeat it to stop at once" in printed
    assert f"continue with: cl-train resume={tmp_path / 'run'}" in printed
    assert "Traceback" not in printed
    assert continued_as_if_nothing_had_been(cl_train_here, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("names", "code"), [("SIGINT,SIGINT", 130), ("SIGTERM,SIGINT", 130), ("SIGINT,SIGTERM", 143)]
)
def test_a_second_signal_ends_at_once_and_hurts_nothing(
    names, code, cl_train_beside, cl_train_here, tmp_path: Path, monkeypatch
) -> None:
    child = cl_train_beside(
        *SIGNALLING, f"+strategy.signals=[{names}]", "name=run", "checkpoint.every_n_steps=1"
    )
    assert exit_code(child) == code
    assert checkpoints(tmp_path / "run")[-1] == f"task-00001-step-{SENT_AT - 1:010}.ckpt"
    assert continued_as_if_nothing_had_been(cl_train_here, tmp_path, monkeypatch)


def test_a_signal_within_the_writing_of_a_checkpoint(
    cl_train_beside, cl_train_here, tmp_path: Path, monkeypatch
) -> None:
    """The checkpoint is written completely, and the run continues from it."""
    write, sent = os.write, []

    def interrupted(descriptor: int, data: bytes | memoryview) -> int:
        if len(data) > 10_000 and not sent:  # only checkpoints are as large
            sent.append(os.kill(os.getpid(), signal.SIGTERM))
            return write(descriptor, data[: len(data) // 2])
        return write(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "os", SimpleNamespace(**{**vars(os), "write": interrupted}))
        child = cl_train_beside(*TINY, "name=run")
    assert exit_code(child) == 143
    assert checkpoints(tmp_path / "run") == ["task-00001-step-0000000005.ckpt"]
    assert continued_as_if_nothing_had_been(cl_train_here, tmp_path, monkeypatch)


def test_it_is_over_within_two_seconds(cl_train_beside, tmp_path: Path) -> None:
    """Two seconds of processor time; on a busy machine the clock shows more."""
    child = cl_train_beside("epochs=9999", *TINY[1:], "name=run")
    metrics = tmp_path / "run" / "metrics.jsonl"
    until(lambda: metrics.exists() and '"step"' in metrics.read_text(), child)
    before = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[11:13]
    os.kill(child, signal.SIGTERM)
    _, code, used = os.wait4(child, 0)
    assert os.waitstatus_to_exitcode(code) == 143
    ticks = sum(map(int, before)) / os.sysconf("SC_CLK_TCK")
    assert used.ru_utime + used.ru_stime - ticks < 2


def test_a_sweep_ends_with_the_job_that_was_asked_to(cl_train_beside, tmp_path: Path) -> None:
    """Exit code 143, and no later job begins."""
    child = cl_train_beside(
        "-m", *SIGNALLING, "+strategy.signals=[SIGTERM]", "seed=1,2", "hydra.sweep.dir=sweep"
    )
    assert exit_code(child) == 143
    begun = [file.parent for file in (tmp_path / "sweep").glob("*/status.json")]
    assert [status(folder) for folder in begun] == ["interrupted"]


def test_nobody_has_to_read_what_is_printed() -> None:
    """A closed pipe, as after Ctrl-C with `| tee`, must not keep the run from saving."""
    run = fork()
    if run == 0:
        reader, writer = os.pipe()
        os.close(reader)
        os.dup2(writer, 2)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as Python has it
        with interrupt.Signals() as signals:
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(0 if signals.received == signal.SIGTERM else 70)
    assert exit_code(run) == 0


def test_a_killed_neighbour_does_not_stop_the_progress_bar(tmp_path: Path) -> None:
    """Forked processes share tqdm's lock; one that is killed while it holds the lock keeps it."""
    lock = progress.tqdm.get_lock()
    child = fork()
    if child == 0:
        lock.acquire()
        os.kill(os.getpid(), signal.SIGKILL)
    assert exit_code(child) == -signal.SIGKILL
    bar = progress.Progress()
    beginning = threading.Thread(target=bar.begin, args=[RunInfo(tmp_path, {}, {}, ["t"], 1)])
    beginning.daemon = True
    beginning.start()
    beginning.join(timeout=20)
    assert not beginning.is_alive()
    bar.end(None, None)


def test_submitit_queues_a_job_again_once_its_state_is_saved(cl_train_here, tmp_path) -> None:
    """Its handler of SIGUSR2, here replaced, exits wherever it is called."""
    found = []

    def queue_again(number: int, frame: object) -> None:
        found.append((status(tmp_path / "run"), checkpoints(tmp_path / "run")[-1]))
        sys.exit(144)

    before = signal.signal(signal.SIGUSR2, queue_again)
    try:
        done = cl_train_here(*SIGNALLING, "+strategy.signals=[SIGUSR2]", "name=run")
    finally:
        signal.signal(signal.SIGUSR2, before)
    saved = f"task-00001-step-{SENT_AT:010}.ckpt"
    assert done.returncode == 144 and found == [("interrupted", saved)]
