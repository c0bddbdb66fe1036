"""Code of the user's own that was edited after it made runs: they are kept, and a line says so."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

TINY = ("epochs=1", "batch_size=64", "model.widths=[8]", "dataset.tasks=2", "output_root=.")
MINE = ("strategy._target_=own_changing.Mine", "trusted_targets=[own_changing]")
MODULE = """
import os
import torch
from own_changing_part import nothing
from cl_runner.strategies.finetune import Finetune


class Mine(Finetune):
    def objective(self, batch):
        stops = "STOP" in os.environ and not batch.task.first
        return {**super().objective(batch), **({"x": torch.tensor(torch.nan)} if stops else {})}
"""
CHANGED = "the code of own_changing has changed since "


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own_changing.py").write_text(MODULE)
    (tmp_path / "own_changing_part.py").write_text("nothing = None")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("own_changing", "own_changing_part"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path / "own_changing.py"


def edited(file: Path) -> None:
    file.write_text(file.read_text() + "\n# repaired\n")


def status(folder: Path) -> dict:
    return json.loads((folder / "status.json").read_text())


@pytest.mark.parametrize("file", ["own_changing.py", "own_changing_part.py"])
def test_a_complete_run_is_kept_and_one_line_says_that_its_code_was_another(
    file: str, module: Path, cl_train_here, tmp_path: Path
) -> None:
    first = cl_train_here(*TINY, *MINE, "name=one")
    assert first.returncode == 0 and CHANGED not in first.stderr, first.stderr
    (tmp_path / "own_unrelated.py").write_text("")
    assert cl_train_here(*TINY, *MINE, "name=one", "resume=auto").stderr == ""
    edited(tmp_path / file)
    before = status(tmp_path / "one")
    for resume in ("resume=auto", "resume=one"):
        again = cl_train_here(*TINY, *MINE, "name=one", resume)
        assert again.returncode == 0 and again.stdout.startswith("already complete")
        (line,) = again.stderr.splitlines()
        assert line.startswith(f"warning: {CHANGED}this run; it is kept as it is. Hint: remove its")
    assert status(tmp_path / "one") == before


def test_a_sweep_says_of_how_many_runs(module: Path, cl_train_here, tmp_path: Path) -> None:
    words = ("-m", *TINY, *MINE, "name=many")
    assert CHANGED not in cl_train_here(*words, "seed=0,1").stderr
    edited(module)
    done = cl_train_here(*words, "seed=0,1,2")
    assert "3 jobs: 2 already complete, 1 complete" in done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"warning: {CHANGED}2 of these runs; they are kept as they are. Hint:")


def test_an_interrupted_run_goes_on_and_says_it(module, cl_train_here, tmp_path, monkeypatch):
    monkeypatch.setenv("STOP", "1")
    assert cl_train_here(*TINY, *MINE, "name=one").returncode == 3
    before = status(tmp_path / "one")["code"]
    edited(module)
    monkeypatch.delenv("STOP")
    done = cl_train_here(*TINY, *MINE, "name=one", "resume=auto")
    assert done.returncode == 0, done.stderr
    assert f"{CHANGED}this run was begun; it goes on with the new code. Hint:" in done.stderr
    assert f"WARNING {CHANGED}" in (tmp_path / "one" / "log.txt").read_text()
    assert status(tmp_path / "one")["code"] == before  # not all of it is of the new code
    assert CHANGED in cl_train_here(*TINY, *MINE, "name=one", "resume=auto").stderr


def test_what_did_not_get_as_far_as_a_checkpoint_begins_anew(
    module, cl_train_here, tmp_path, monkeypatch
) -> None:
    """The new code has made all of it."""
    module.write_text(MODULE.replace("not batch.task.first", "batch.task.first"))
    monkeypatch.setenv("STOP", "1")
    assert cl_train_here(*TINY, *MINE, "name=one").returncode == 3
    edited(module)
    monkeypatch.delenv("STOP")
    done = cl_train_here(*TINY, *MINE, "name=one", "resume=auto")
    assert done.returncode == 0 and CHANGED not in done.stderr
    assert cl_train_here(*TINY, *MINE, "name=one", "resume=auto").stderr == ""


def test_nothing_is_said_where_nothing_was_recorded(module, cl_train_here, tmp_path) -> None:
    """A run of an earlier version; and one without code of the user's records nothing."""
    assert cl_train_here(*TINY, *MINE, "name=one").returncode == 0
    recorded = status(tmp_path / "one")
    del recorded["code"]
    (tmp_path / "one" / "status.json").write_text(json.dumps(recorded))
    edited(module)
    assert cl_train_here(*TINY, *MINE, "name=one", "resume=auto").stderr == ""
    assert cl_train_here(*TINY, "name=ours").returncode == 0
    assert "code" not in status(tmp_path / "ours")
