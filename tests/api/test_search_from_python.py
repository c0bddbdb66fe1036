"""`cl_runner.search`: the trials, bytes and messages of `cl-search`, and what it returns."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace

import pytest
from processes import code_of

import cl_runner
from cl_runner import errors
from cl_runner.searches import command

optuna = pytest.importorskip("optuna")

TINY = (
    "epochs=1",
    "batch_size=64",
    "model.widths=[8]",
    "dataset.tasks=2",
    "dataset.scenario=task_incremental",
    "dataset.validation_fraction=0.2",
)
LR = "optimizer.lr=tag(log,interval(1e-4,1e-1))"
HERE = "hydra/launcher=in_turn"  # spares a server of processes, which would import torch
FILES = ("metrics.jsonl", "predictions.npz")

pytestmark = pytest.mark.usefixtures("in_a_fork")


@pytest.fixture
def cl_search(tmp_path: Path) -> Callable[..., SimpleNamespace]:
    """The command in a process of its own, since Hydra configures logging there."""

    def call(*arguments: str) -> SimpleNamespace:
        code = code_of(tmp_path, ["cl-search", *arguments], command.main)
        out, err = ((tmp_path / name).read_text() for name in ("stdout", "stderr"))
        return SimpleNamespace(code=code, out=out, err=err)

    return call


def test_it_is_the_search_of_the_command(cl_search, tmp_path: Path, capfd) -> None:
    words = (*TINY, LR, HERE)
    search = cl_runner.search(*words, "output_root=python", trials=2)
    printed = capfd.readouterr().out
    shell = cl_search(*words, "output_root=shell", "--trials", "2")
    assert shell.code == 0, shell.err
    of_shell = shell.out.replace(str(tmp_path / "shell"), str(tmp_path / "python"))
    told = of_shell[of_shell.index("\ntrial ") + 1 :].replace("output_root=shell", "").strip()
    assert str(search) == told and printed.endswith(f"\n{search}\n")
    assert str(search).startswith(search.table()) and "2 complete" in search.table()
    assert search.folder.parent == tmp_path / "python" / "searches"
    for run in search.runs:
        other = tmp_path / "shell" / "searches" / search.folder.name / run.folder.name
        assert all((run.folder / f).read_bytes() == (other / f).read_bytes() for f in FILES)


def test_its_best_is_that_of_the_files_and_can_be_run_again(tmp_path: Path, capfd) -> None:
    search = cl_runner.search(*TINY, LR, HERE, trials=2, name="mine")
    assert search.folder == tmp_path / "outputs" / "searches" / "mine"
    values = {}
    for run in search.runs:
        rows = json.loads((run.folder / "results.json").read_text())["accuracy_validation"]
        values[run.folder] = fmean(rows[-1])
    assert search.value == max(values.values()) and len({*values.values()}) == 2
    best = max(values, key=lambda folder: values[folder])
    again = cl_runner.run(*search.best, "name=again").folder
    assert all((again / name).read_bytes() == (best / name).read_bytes() for name in FILES)
    other = cl_runner.run(*search.best, "name=final", "seed=1", "dataset.validation_fraction=0")
    assert other.config["seed"] == 1 and other.config["threads"] == 1
    assert other.config["optimizer"]["lr"] == cl_runner.Run.at(best).config["optimizer"]["lr"]
    capfd.readouterr()
    same = cl_runner.search(*TINY, LR, HERE, trials=2, name="mine")
    assert (str(same), same.best, same.value) == (str(search), search.best, search.value)
    assert "validation, " not in capfd.readouterr().out  # nothing was trained
    html = search._repr_html_()
    assert html.count("<tr>") == 3 and best.name in html and f"{100 * search.value:.1f}" in html
    assert "trial" in repr(search) and str(search.folder) in repr(search)
    with pytest.raises(errors.ConfigError) as raised:
        cl_runner.search(*TINY, LR, HERE, "seed=1", name="mine")
    assert str(raised.value).startswith("config error: name=mine: already contains another search")
    assert str(raised.value).endswith("Hint: another name")


def test_of_an_error_the_smaller_value_is_the_best(tmp_path: Path) -> None:
    words = ("dataset=regression_rbf", "dataset.validation_fraction=0.2", "epochs=2", HERE)
    search = cl_runner.search(*words, "model.widths=[4]", LR, trials=2, name="line")
    found = [
        fmean(json.loads((run.folder / "results.json").read_text())["mse_validation"][-1])
        for run in search.runs
    ]
    assert search.value == min(found) > 0


def test_a_trial_that_diverges_is_in_the_table_and_no_error() -> None:
    words = (*TINY, HERE, "optimizer=sgd", "optimizer.lr=1e18,0.01")
    with pytest.raises(cl_runner.RunError, match="no trial is complete"):
        cl_runner.search(*words, trials=1, name="fast")
    search = cl_runner.search(*words, trials=2, name="fast")
    assert "diverged" in search.table() and "not finite" in search.table()
    assert [run.state for run in search.runs] == ["failed", "complete"]
    assert "optimizer.lr=0.01" in search.best


@pytest.mark.parametrize(
    ("words", "flags", "line"),
    [
        (("strategy=ewwc", LR), {}, "config error: strategy=ewwc: no such option. Hint: did you"),
        ((), {}, "there is nothing to search"),
        ((LR, "dataset.validation_fraction=0"), {}, "never on test samples"),
        ((LR,), {"trials": 0}, "config error: trials=0: must be an integer ≥ 1"),
        ((LR,), {"trials": None}, "config error: trials=null: must be an integer ≥ 1"),
        ((LR,), {"jobs": 1.5}, "config error: jobs=1.5: must be an integer ≥ 1"),
        ((LR, HERE, TINY[-1]), {"jobs": 2}, "config error: jobs=2: is for runs on this machine"),
        ((LR,), {"config_dir": "none"}, "config error: config_dir=none: is not a folder"),
        ((LR, "name=mine"), {}, "the search's own is cl_runner.search(..., name="),
    ],
)
def test_a_mistake_is_one_line(words, flags, line: str, tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigError) as raised:
        cl_runner.search(*TINY[:5], *words, **flags)
    assert line in str(raised.value) and "--" not in str(raised.value)
    assert not [*tmp_path.iterdir()]


def test_an_error_of_all_runs_has_its_class(tmp_path: Path) -> None:
    words = ("dataset=split_mnist", "dataset.root=nowhere", "dataset.validation_fraction=0.1")
    with pytest.raises(errors.DataError, match="cl-data prepare mnist"):
        cl_runner.search(*words, LR, HERE, trials=1)


def test_ctrl_c_saves_the_runs(tmp_path: Path) -> None:
    """Also of those that the search itself has started, without a launcher."""

    def press() -> None:
        end = time.monotonic() + 60
        while not [*tmp_path.glob("*/*/mine/*/metrics.jsonl")] and time.monotonic() < end:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        cl_runner.search(*TINY[1:], LR, "epochs=4000", trials=2, jobs=1, name="mine")
    thread.join()
    assert [run.state for run in cl_runner.load(tmp_path / "outputs")] == ["interrupted"]
