"""A run on data of one's own that was killed continues bit for bit, and only on the same data."""

from __future__ import annotations

import signal
from pathlib import Path

import own_data
import pytest
from processes import exit_code

TINY = ("epochs=3", "batch_size=8", "model.widths=[6]", "dataset.source.size=4", "threads=1",
        "strategy=rehearsal", "strategy.buffer_size=8", "checkpoint.every_n_steps=2")  # fmt: skip
MAKE = {"image_folder": own_data.folders, "csv": own_data.listed, "arrays": own_data.arrays}


@pytest.mark.parametrize("dataset", MAKE)
def test_a_killed_run_continues(
    dataset: str, tmp_path: Path, cl_train_beside, cl_train_here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = MAKE[dataset](tmp_path / "mine", 12)
    words = (f"dataset={dataset}", f"dataset.root={root}", "output_root=.",
             *(w for w in TINY if dataset != "arrays" or "size=4" not in w))  # fmt: skip
    assert cl_train_here(*words, "name=whole").returncode == 0
    child = cl_train_beside(*words, "name=killed", first=lambda: kill_at_step(9))
    assert exit_code(child) == -signal.SIGKILL
    moved = MAKE[dataset](tmp_path / "moved", 12)
    resumed = cl_train_here("resume=killed", f"dataset.root={moved}")
    assert resumed.returncode == 0, resumed.stderr
    assert "attempt 2: going on after step" in resumed.stderr
    for file in ("metrics.jsonl", "predictions.npz"):
        whole = (tmp_path / "whole" / file).read_bytes()
        assert (tmp_path / "killed" / file).read_bytes() == whole


def kill_at_step(count: int) -> None:
    """Kill this process at the beginning of its n-th step."""
    import os

    from cl_runner.training.loop import Training

    step, done = Training._step, []

    def counted(self: Training, *arguments: object) -> object:
        done.append(1)
        if len(done) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, *arguments)  # type: ignore[arg-type]

    Training._step = counted  # type: ignore[method-assign, assignment]


def test_a_run_does_not_continue_on_other_data(
    tmp_path: Path, cl_train_beside, cl_train_here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One pixel of one training picture."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = own_data.folders(tmp_path / "mine", 12)
    words = ("dataset=image_folder", f"dataset.root={root}", "output_root=.", *TINY)
    child = cl_train_beside(*words, "name=killed", first=lambda: kill_at_step(9))
    assert exit_code(child) == -signal.SIGKILL
    own_data.picture(root / "train" / "owl" / "3.png", own_data.COLOURS["owl"], 2)
    done = cl_train_here("resume=killed", f"dataset.root={root}")
    assert done.returncode == 7
    assert "it does not fit this run: its data set had other samples" in done.stderr
