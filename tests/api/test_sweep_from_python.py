"""`cl_runner.sweep`: the jobs and bytes of `cl-train -m`, from a process that does other things."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from processes import exit_code, fork, until

import cl_runner
from cl_runner import errors
from cl_runner.api import own_process

TINY = ("epochs=1", "batch_size=64", "model.widths=[8]", "dataset.tasks=3")
PAGE = Path(__file__).parents[2] / "docs" / "how_to" / "python.md"
FILES = ("metrics.jsonl", "predictions.npz")

pytestmark = pytest.mark.usefixtures("in_a_fork")


def test_its_jobs_are_those_of_the_command(cl_train_here, tmp_path: Path, capfd) -> None:
    words = (*TINY, "strategy=ewc,lwf", "name=both")
    runs = cl_runner.sweep(*words, "output_root=python")
    printed = capfd.readouterr().out
    assert "2/2 " in printed and runs.table() in printed
    shell = cl_train_here("-m", *words, "output_root=shell")
    assert shell.returncode == 0
    (folder,) = (tmp_path / "shell" / "sweeps").iterdir()
    assert [run.folder.name for run in runs] == sorted(f.name for f in folder.glob("0*"))
    for run in runs:
        assert run.complete
        for name in FILES:
            assert (run.folder / name).read_bytes() == (
                folder / run.folder.name / name
            ).read_bytes()
    again = cl_runner.sweep(*words, "output_root=python")
    assert "already complete: 2 of 2 jobs" in capfd.readouterr().out
    assert [run.folder for run in again] == [run.folder for run in runs]
    words = (*TINY, "strategy=lwf", "name=both")  # the other run stays in the folder
    (one,) = cl_runner.sweep(*words, "output_root=python")
    assert one.config["strategy"]["_target_"].endswith("LwF") and len(cl_runner.load("python")) == 2


def test_the_code_of_the_page_runs(no_figures, capfd) -> None:
    """One block after another, in one process, with one seed."""
    for package in ("pandas", "optuna"):
        pytest.importorskip(package)
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 6
    names: dict[str, Any] = {}
    for block in blocks:
        small = block.replace("seed=0,1", "seed=0")
        small = small.replace(" trials=4", ' "hydra/launcher=in_turn", trials=2')
        exec(compile(small, str(PAGE), "exec"), names)
    assert (
        "config error: strategy=ewwc: no such option. Hint: did you mean ewc?"
        in capfd.readouterr().out
    )
    tried = [run.config["strategy"]["weight"] for run in names["search"].runs]
    assert len(tried) == 2 and names["final"].config["strategy"]["weight"] in tried
    assert len(names["frame"]) == 3 and names["page"].exists()
    assert names["labels"] == [names["network"].classes[i] for i in names["scores"].argmax(1)]


def test_jobs_are_for_this_machine(capfd) -> None:
    assert len(cl_runner.sweep(*TINY, "seed=0,1,2", "plan=true", jobs=2)) == 0
    unknown = "time and space are not known yet, as no job of this kind has been run"
    assert f"3 jobs; to do: 3; {unknown}\n" in capfd.readouterr().out
    for jobs in (0, 1.5):
        with pytest.raises(errors.ConfigError, match=f"jobs={jobs}: must be an integer ≥ 1"):
            cl_runner.sweep(*TINY, "seed=0,1", jobs=jobs)  # type: ignore[arg-type]


@pytest.mark.parametrize("word", ["seed=\0", "seed=\ud800"])
def test_a_word_that_no_process_can_be_given_is_one_line(word: str) -> None:
    for call in (cl_runner.sweep, cl_runner.run):
        with pytest.raises(errors.ConfigError, match=r"seed=.*no command line can have"):
            call(word)


@pytest.mark.parametrize(
    "words", [("strategy=ewwc,lwf",), ("epochs=0",), ("seed=",), ("resume=outputs",), ("no",)]
)
def test_a_mistake_is_the_line_that_the_command_prints(words, cl_train_here, capfd) -> None:
    with pytest.raises(cl_runner.RunError) as raised:
        cl_runner.sweep(*words)
    assert capfd.readouterr().out == ""
    done = cl_train_here("-m", *words)
    assert str(raised.value) in done.stderr and done.returncode == raised.value.exit_code


def test_a_job_that_fails_is_an_error_and_the_others_can_be_read() -> None:
    with pytest.raises(cl_runner.RunError, match="not all jobs are complete"):
        cl_runner.sweep(*TINY, "optimizer=sgd", "optimizer.lr=0.1,1e18", "name=mine")
    runs = cl_runner.load("outputs/sweeps/mine")
    assert [run.state for run in runs] == ["complete", "failed"]


def test_ctrl_c_saves_the_job_and_no_other_begins(tmp_path: Path) -> None:
    """The same call continues."""
    words = (*TINY, "seed=0,1", "name=mine", "epochs=400")

    def press() -> None:
        place = tmp_path / "outputs" / "sweeps" / "mine"
        end = time.monotonic() + 60
        while not [*place.glob("*/metrics.jsonl")] and time.monotonic() < end:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        cl_runner.sweep(*words)
    thread.join()
    assert [r.state for r in cl_runner.load("outputs/sweeps/mine")] == ["interrupted", "missing"]


def test_the_jobs_end_with_their_caller(tmp_path: Path) -> None:
    """It is killed: they save their state and end."""
    caller = fork()
    if caller == 0:
        cl_runner.sweep(*TINY, "seed=0", "name=mine", "epochs=400")
        os._exit(0)
    place = tmp_path / "outputs" / "sweeps" / "mine"
    until(lambda: [*place.glob("*/metrics.jsonl")], caller)
    os.kill(caller, signal.SIGKILL)
    exit_code(caller)
    end = time.monotonic() + 60
    while cl_runner.load(place)[0].state == "running" and time.monotonic() < end:
        time.sleep(0.05)
    assert cl_runner.load(place)[0].state == "interrupted"


def test_a_child_that_dies_is_told() -> None:
    with pytest.raises(cl_runner.RunError, match="ended with exit code -9"):
        own_process._answer(b"", -9)
