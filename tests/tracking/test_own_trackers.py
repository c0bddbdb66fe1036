"""Trackers of one's own in a list: each is told everything, and none can change a run."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from running import NAMES, composed, logged
from torch import nn

from cl_runner.errors import ConfigError
from cl_runner.training.run import run

TINY = ("epochs=2", "batch_size=100", "dataset.tasks=2", "log_every=3")
SMALL = ("model.widths=[8]",)
MODULE = """
import random
from pathlib import Path
import numpy, torch
from cl_runner.tracking.tracker import Tracker

class Csv(Tracker):
    def __init__(self, *, path: str):
        self.path, self.lines = path, []
    def begin(self, run):
        self.lines.append(f"{run.steps}")
    def log(self, event):
        self.lines.append(event.event)
    def end(self, results, error):
        self.lines.append(f"{results.seed} {error}")
        Path(self.path).write_text("\\n".join(self.lines))

class Drawing(Tracker):
    def __init__(self, *, calls: list[str]):
        self.calls = calls
    def _draw(self, name):
        torch.rand(3), numpy.random.rand(), random.random()
    def begin(self, run): self._draw("begin")
    def advance(self, task, epoch, terms):
        self._draw("advance")
        terms.clear()
    def log(self, event): self._draw("log")

class Broken(Tracker):
    def __init__(self, *, where: str):
        setattr(self, where, self._fail)
    def advance(self, task, epoch, terms): pass
    def _fail(self, *given):
        raise OSError("no space\\nleft")

class Ending(Tracker):
    def __init__(self): pass
    def log(self, event):
        raise SystemExit(7)

class Overwriting(Tracker):
    def __init__(self): pass
    def begin(self, run): self._empty(run)
    def log(self, event): self._empty(event)
    def end(self, results, error): self._empty(results)
    def _empty(self, given):
        for value in vars(given).values():
            if isinstance(value, (list, dict)):
                value.clear()
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "followers.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)


def run_with(folder: Path, trackers: str, *words: str) -> None:
    trusted = ("trusted_targets=[followers]", f"trackers=[{trackers}]")
    run(composed("threads=1", *TINY, *trusted, *(words or SMALL)), folder, config={}, names=NAMES)


def test_each_is_told_what_the_local_files_say(tmp_path: Path) -> None:
    each = [f"{{_target_:followers.Csv,path:'{tmp_path}/{name}.csv'}}" for name in ("a", "b")]
    run_with(tmp_path / "run", ",".join(each))
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[1:-1] == [event["event"] for event in logged(tmp_path / "run")]
    assert int(lines[0]) > 3 and lines[-1] == "0 None"
    assert (tmp_path / "b.csv").read_text().splitlines() == lines


def test_what_a_tracker_draws_changes_nothing(tmp_path: Path, monkeypatch) -> None:
    """With a model that draws from torch's own generator at each step."""
    words = ("model=cnn_leaky", "model.dropout=0.5")
    generators = (torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate())
    run_with(tmp_path / "drawing", "{_target_:followers.Drawing,calls:[]}", *words)
    run_with(tmp_path / "plain", "", *words)
    for file in ("metrics.jsonl", "predictions.npz"):
        one, other = ((tmp_path / name / file).read_bytes() for name in ("drawing", "plain"))
        assert one == other
    assert any(isinstance(m, nn.Dropout) for m in composed(*words).model((1, 8, 8), 10).modules())
    assert np.random.get_state()[1].tolist() == generators[1] and random.getstate() == generators[2]


def test_what_a_tracker_overwrites_changes_nothing(tmp_path: Path) -> None:
    run_with(tmp_path / "run", "{_target_:followers.Overwriting}")
    run_with(tmp_path / "plain", "")
    for name in ("metrics.jsonl", "predictions.npz"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
    one, other = (json.loads((tmp_path / run / "results.json").read_text())
                  for run in ("run", "plain"))  # fmt: skip
    assert {**one, "cost": None} == {**other, "cost": None}


def test_one_that_ends_the_program_is_left_out(tmp_path: Path, caplog) -> None:
    run_with(tmp_path / "run", "{_target_:followers.Ending}")
    assert (tmp_path / "run" / "results.json").exists()
    assert "Ending is off for the rest of this run: it ends the program" in caplog.text


@pytest.mark.parametrize("where", ["begin", "advance", "log", "end"])
def test_one_that_raises_is_left_out_with_one_line(where: str, tmp_path: Path, caplog) -> None:
    broken = f"{{_target_:followers.Broken,where:{where}}}"
    other = f"{{_target_:followers.Csv,path:'{tmp_path}/other.csv'}}"
    run_with(tmp_path / "run", f"{broken},{other}")
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert warnings == ["Broken is off for the rest of this run: no space"]
    assert (tmp_path / "other.csv").read_text().endswith("0 None")
    run_with(tmp_path / "plain", "")
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == (
        tmp_path / "plain" / "metrics.jsonl"
    ).read_bytes()


def test_the_one_of_the_group_cannot_end_a_run_either(tmp_path: Path) -> None:
    words = (*SMALL, "+tracker._target_=followers.Broken", "+tracker.where=log")
    run_with(tmp_path / "run", "", *words)
    assert (tmp_path / "run" / "results.json").exists()


def test_what_is_no_tracker_is_one_line() -> None:
    with pytest.raises(
        ConfigError, match=r"^config error: trackers\[0\]=cl_runner.*is not a Tracker"
    ):
        composed("trackers=[{_target_:cl_runner.strategies.finetune.Finetune}]")
