"""W&B mirrors the local files and cannot change or stop a run."""

from __future__ import annotations

import io
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from processes import exit_code, fork, run_and_exit
from running import NAMES, composed, run_here
from wandb_files import inspect

from cl_runner.run_folder.events import Alarm, Evaluation
from cl_runner.tracking.local import LocalFiles
from cl_runner.tracking.progress import Progress
from cl_runner.tracking.tracker import RunInfo, Tracker, Trackers
from cl_runner.training.run import run

TINY = ("epochs=1", "batch_size=64", "model.widths=[8]", "log_every=4")


pytestmark = pytest.mark.usefixtures("no_wandb_account")


def test_the_mirror_holds_what_the_local_files_say(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    settings = composed("tracker=wandb", "tracker.tags=[mine]", "strategy=ewc", *TINY)
    names = {**NAMES, "strategy": "ewc", "group": "a group"}
    results = run(settings, folder, config={"seed": 0, "root": "<env:CL_DATA>"}, names=names)
    metrics = {name: value for name, value in results.metrics.items() if value is not None}
    records = inspect(folder)
    kinds = {record["type"] for record in records}
    assert {"run", "metric", "history", "summary"} <= kinds
    (start,) = (r["run"] for r in records if r["type"] == "run")
    assert start["run_group"] == "a group" and start["job_type"] == "ewc"
    assert "mine" in start["tags"] and start["config"]["update"]["root"] == "<env:CL_DATA>"
    axes = {
        m["metric"].get("glob_name"): m["metric"].get("step_metric")
        for m in records
        if m["type"] == "metric"
    }
    assert axes["Training loss*"] == "step" and axes["Accuracy*"] == "task"

    history = [r["history"]["item"] for r in records if r["type"] == "history"]
    text = json.dumps(history)
    local = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in local if line["event"] == "step"]
    assert text.count("Training loss, ewc") == sum("ewc" in line["terms"] for line in steps) > 0
    assert text.count('"Training loss"') == len(steps)
    assert text.count('"Accuracy on task 1 (%)"') == 5

    (summary,) = inspect(folder, "--summary")
    assert summary["state"] == "finished" and summary["exit_code"] == 0
    final = summary["summary"]
    assert {"average_accuracy", "forgetting", "learning_accuracy"} <= metrics.keys()
    assert {k: final[k] for k in metrics} == pytest.approx(metrics)
    inapplicable = [name for name, value in results.document().items() if value is None]
    assert "average_mse" in inapplicable and not final.keys() & set(inapplicable)
    assert "validation_accuracy" not in final  # nothing was held out
    assert final["Accuracy matrix (%)"]["_type"] == "table-file"
    assert final["Picture of the accuracy matrix"]["_type"] == "image-file"
    media = list((folder / "wandb").glob("offline-run-*/files/media/**/*.*"))
    assert {p.suffix for p in media} == {".png", ".json"}


def test_a_sweep_is_one_group_of_runs_named_by_what_varies(cl_train_here, tmp_path: Path) -> None:
    done = cl_train_here(
        "-m", *TINY, "tracker=wandb", "strategy=lwf", "strategy.T=1,4", "seed=3", "name=study"
    )
    assert done.returncode == 0, done.stderr
    seen = {}
    for folder in (tmp_path / "outputs" / "sweeps" / "study").glob("0*"):
        (start,) = (r["run"] for r in inspect(folder) if r["type"] == "run")
        config = start["config"]["update"]
        seen[start["display_name"]] = (start["run_group"], config["T"], config["seed"])
    assert seen == {"T=1": ("study", 1, 3), "T=4": ("study", 4, 3)}


def test_a_run_that_raised_is_closed_as_failed_and_the_next_gets_its_own(tmp_path: Path) -> None:
    jobs = [("a", []), ("b", ["optimizer=sgd", "optimizer.lr=1e18"]), ("c", ["seed=2"])]
    states = []
    for name, overrides in jobs:
        settings = composed("tracker=wandb", *TINY, *overrides)
        folder = tmp_path / name
        try:
            run(settings, folder, config={"job": name}, names=NAMES)
        except Exception as error:
            assert "not finite" in str(error)
        (summary,) = inspect(folder, "--summary")
        states.append((summary["config"]["job"], summary["exit_code"]))
    assert states == [("a", 0), ("b", 1), ("c", 0)]


@contextmanager
def silent_server() -> Iterator[str]:
    """Accepts connections and never answers."""
    held: list[socket.socket] = []

    def accept(server: socket.socket) -> None:
        while True:
            try:
                held.append(server.accept()[0])
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=accept, args=[server], daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join()
    for connection in held:
        connection.close()


FAULTS = ("no key", "nobody listens", "silent server")


def started_online(fault: str, folder: Path, url: str) -> int:
    """Start a forked process that mirrors to this server; its process number."""
    folder.mkdir()
    child = fork()
    if child == 0:
        os.environ["WANDB_BASE_URL"] = url if fault == "silent server" else "http://127.0.0.1:9"
        if fault != "no key":
            os.environ["WANDB_API_KEY"] = "x" * 40
        run_and_exit(folder, ["cl-train", "tracker=wandb", "tracker.mode=online", "name=run",
                              "tracker.init_timeout=1", "tracker.finish_timeout=1", "threads=1",
                              "output_root=.", *TINY])  # fmt: skip
    return child


def test_a_server_that_is_not_there_costs_a_bounded_time_and_nothing_else(
    fresh_wandb, tmp_path: Path
) -> None:
    """One warning and the same metrics, bit for bit; three faults at once, to wait only once."""
    run_here(tmp_path / "plain", *TINY)
    start = time.monotonic()
    with silent_server() as url:
        started = {fault: started_online(fault, tmp_path / fault, url) for fault in FAULTS}
        codes = {fault: exit_code(child) for fault, child in started.items()}
    assert time.monotonic() - start < 90
    for fault, code in codes.items():
        printed = (tmp_path / fault / "stderr").read_text()
        assert code == 0 and printed.count("W&B") == 1, (fault, printed)
        metrics = (tmp_path / fault / "run" / "metrics.jsonl").read_bytes()
        assert metrics == (tmp_path / "plain" / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize("mode", ["offline", "online"])
def test_a_folder_that_cannot_be_written_costs_nothing_else(mode, tmp_path: Path, capfd) -> None:
    """As when the disk is full: one warning, and the same metrics bit for bit."""
    run_here(tmp_path / "plain", *TINY)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "wandb").write_text("in the way")
    run_here(tmp_path / "run", "tracker=wandb", f"tracker.mode={mode}", *TINY)
    assert capfd.readouterr().err.count("W&B is off for the rest of this run: ") == 1
    for name in ("metrics.jsonl", "predictions.npz"):
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_tells_where_the_run_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its task and epoch, the terms of the last step, the accuracies so far, alarms; and nothing
    where there is no terminal."""
    printed = {}
    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setattr("sys.stderr", stream)
        bar = Progress()
        bar.begin(RunInfo(tmp_path, {}, {}, ["a", "b"], steps=40, steps_done=30))
        bar.log(Evaluation(event="evaluation", task=0, step=30, accuracy=[0.5]))
        bar.log(Alarm(event="alarm", task=1, term="ewc", message="inert"))
        for _ in range(2):  # the text of a step shows at the next redraw
            time.sleep(0.15)  # ten times a second at most
            bar.advance(1, 2, {"task": 0.25, "ewc": 0.0})
        bar.end(None, None)
        printed[stream.isatty()] = stream.getvalue()
    for words in ("task 2/2 epoch 3", "32/40", "task 0.250  ewc 0.000", "accuracy 50.0",
                  "ALARM: ewc inert"):  # fmt: skip
        assert words in printed[True], printed[True]
    assert printed[False] == ""


def test_without_a_terminal_there_is_a_line_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step takes 10 s. The evaluation's line counts as one; 10 steps were done before."""
    now, stream = [0.0], io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    progress = Progress(clock=lambda: now[0])
    progress.begin(RunInfo(tmp_path, {}, {}, ["a", "b"], steps=40, steps_done=10))
    for step in range(1, 16):
        now[0] += 10
        progress.advance(0, 2, {"task": 0.25, "ewc": 0.5})
        if step == 8:
            logging.getLogger("cl_runner").warning("all at once", extra={"brief": "in brief"})
    progress.end(None, None)
    assert stream.getvalue().splitlines() == [
        "task 1/2 epoch 3, step 16/40, about 4 min left: task 0.250  ewc 0.500",
        "warning: in brief",
        "task 1/2 epoch 3, step 24/40, about 3 min left: task 0.250  ewc 0.500",
    ]


class Noting(Tracker):
    """Notes when it ends; raises an error if asked to."""

    def __init__(self, name: str, ended: list[str], fails: bool) -> None:
        self.name, self.ended, self.fails = name, ended, fails

    def end(self, results, error) -> None:
        self.ended.append(self.name)
        if self.fails:
            raise OSError(self.name)


@pytest.mark.parametrize("fails", [True, False])
def test_the_truth_is_told_first_and_all_are_told(fails: bool, tmp_path: Path) -> None:
    """A mirror that waits or fails at its end does not hold up the local files."""
    ended: list[str] = []
    trackers = Trackers([Noting(name, ended, fails) for name in ("local", "bar", "mirror")])
    try:
        with trackers.following(RunInfo(tmp_path, {}, {}, [], 1)):
            pass
    except OSError:
        assert fails
    assert ended == ["local", "mirror", "bar"]


def test_a_job_leaves_the_number_of_threads_as_it_was(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    results = run_here(tmp_path / "run", *TINY, "threads=2")
    assert results["environment"]["threads"] == 2
    assert torch.get_num_threads() == before != 2


def test_a_log_that_is_closed_twice_closes_no_other_file(tmp_path: Path) -> None:
    """`logging.config`, which Hydra calls, closes all handlers that still exist."""
    files = LocalFiles(tmp_path)
    files.begin(RunInfo(tmp_path, {}, {}, ["a"], steps=1))
    handler = files.handler
    files.end(None, KeyboardInterrupt())
    others = [os.open(os.devnull, os.O_RDONLY) for _ in range(4)]
    handler.close()
    for other in others:
        os.fstat(other)
        os.close(other)
