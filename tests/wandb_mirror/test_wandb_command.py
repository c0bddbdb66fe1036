"""W&B runs made from local files are those that the live mirror made; a sweep has a summary."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest
import yaml
from running import run_here
from wandb_files import inspect, read_offline

from cl_runner.config.paths import CONF
from cl_runner.errors import ConfigError, RunError, StorageError
from cl_runner.report import command as report
from cl_runner.report.command import report as report_of
from cl_runner.run_folder.files import locked
from cl_runner.wandb_mirror import command
from cl_runner.wandb_mirror.command import rebuild
from cl_runner.wandb_mirror.late import tracker_of

TINY = ("epochs=1", "batch_size=64", "model.widths=[8]", "dataset.tasks=2", "log_every=2")
pytestmark = pytest.mark.usefixtures("no_wandb_account")


def essence(records: list[dict]) -> dict:
    """What a W&B run says, without the times and the random names of its uploads."""
    (start,) = (r["run"] for r in records if r["type"] == "run")
    kept = ("run_id", "display_name", "run_group", "job_type", "project", "tags", "config")
    history = [
        {k: v for k, v in r["history"]["item"].items() if k[0] != "_" and "artifact" not in k}
        for r in records
        if r["type"] == "history"
    ]
    alerts = [r["alert"] for r in records if r["type"] == "alert"]
    axes = [r["metric"] for r in records if r["type"] == "metric"]
    (end,) = (r["exit"]["exit_code"] for r in records if r["type"] == "exit")
    return {**{k: start.get(k) for k in kept}, "history": history, "alerts": alerts, "axes": axes,
            "exit_code": end}  # fmt: skip


def rebuilt(place: Path) -> dict[str, dict]:
    """Each W&B run in this place by its name."""
    found = [essence(read_offline(run)) for run in (place / "wandb").glob("offline-run-*")]
    assert len({run["run_id"] for run in found}) == len(found)
    return {run["display_name"]: run for run in found}


def table(run: dict, files: Path, title: str) -> list[dict]:
    """The rows of a table with this title that the run has logged."""
    (name,) = (item[key] for item in run["history"] if (key := f"{title}.path") in item)
    content = json.loads((files / name).read_text())
    return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]


def local_files(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [p for p in folder.rglob("*") if p.is_file() and "wandb" not in p.parts]
    return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in files}


def test_the_rebuilt_runs_are_those_of_the_live_mirror(cl_train_here, tmp_path: Path) -> None:
    """A complete job and one that diverged. Made twice, they exist once, and so does the summary,
    which the sweep itself had made."""
    cl_train_here("-m", *TINY, "tracker=wandb", "tracker.tags=[mine]", "strategy=ewc",
                  "optimizer=sgd", "optimizer.lr=0.01,1e18", "name=study", "seed=3")  # fmt: skip
    folder = tmp_path / "outputs" / "sweeps" / "study"
    (job, failed) = sorted(folder.glob("0*"))
    live = [essence(inspect(job)), essence(inspect(failed)), essence(inspect(folder))]
    assert [run["exit_code"] for run in live] == [0, 1, 1]
    before = local_files(folder)
    for _ in range(2):
        *told, upload = rebuild([folder], folder)
    assert rebuilt(folder) == {run["display_name"]: run for run in live}
    assert local_files(folder) == before
    assert [line.partition(": ")[2].partition(",")[0] for line in told] == [
        "complete",
        "failed",
        "summary of the sweep",
    ]
    assert upload == f"to upload them: wandb sync {folder}/wandb/offline-run-*"

    summary = live[2]
    assert (summary["job_type"], summary["run_group"]) == ("sweep", "study")
    media = [v for item in summary["history"] for k, v in item.items() if k.endswith(".path")]
    # Not by the folder's name: of two runs of one id within a second W&B calls the later one …-1.
    (file,) = (folder / "wandb").glob("offline-run-*/run-*-sweep.wandb")
    files = file.with_name("files")
    assert media and all((files / name).exists() for name in media)
    rows = table(summary, files, "Jobs")
    results = json.loads((job / "results.json").read_text())
    assert [row["lr"] for row in rows] == [0.01, 1e18] and [row["seed"] for row in rows] == [3, 3]
    assert [row["state"] for row in rows] == ["complete", "failed"]
    assert [row["strategy"] for row in rows] == ["ewc", "ewc"]
    metrics = [row["average_accuracy"] for row in rows]
    assert metrics == [pytest.approx(results["average_accuracy"]), None]
    assert any(name.endswith(".png") for name in media)
    lines, _ = report_of([folder], tmp_path / "page")
    said = [row["sentence"] for row in table(summary, files, "What can be concluded")]
    assert said and lines[1 : len(said) + 1] == said


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """Two runs without W&B, one of them as a kill leaves it: status `running`, half a line."""
    for name in ("whole", "killed"):
        run_here(tmp_path / "runs" / name, *TINY, "strategy=lwf")
    folder = tmp_path / "runs" / "killed"
    status = json.loads((folder / "status.json").read_text())
    (folder / "status.json").write_text(json.dumps({**status, "status": "running"}))
    (folder / "results.json").unlink()
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"event": "st')
    return tmp_path / "runs"


def test_runs_that_had_no_mirror_get_one(killed: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    """With the command's alias, another folder and another project. No other file is written."""
    (killed / "begun").mkdir()
    (killed / "begun" / "status.json").write_text('{"status": "failed", "error": "no data"}')
    ledger = {
        "sweep": "s",
        "id": None,
        "jobs": [{"folder": "killed", "varied": {"strategy.T": "4"}, "overrides": []}],
    }
    (killed / "sweep.json").write_text(json.dumps(ledger))
    before = local_files(killed)
    monkeypatch.setattr(sys, "argv", ["cl-report", "--to-wandb", str(killed), "--output",
                                      str(tmp_path / "place"), "--project", "mine"])  # fmt: skip
    report.main()
    printed = capsys.readouterr().out
    assert "begun: failed, without settings" in printed and "killed: killed, " in printed
    assert local_files(killed) == before and not (killed / "wandb").exists()
    runs = rebuilt(tmp_path / "place")
    assert set(runs) == {"T=4", "test whole", "s summary"}
    assert {run["project"] for run in runs.values()} == {"mine"}
    assert runs["T=4"]["exit_code"] == 1 and runs["test whole"]["exit_code"] == 0
    lines = (killed / "whole" / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in lines if '"step"' in line[:20]]
    loss = "Training loss"
    for name in ("T=4", "test whole"):
        told = [item[loss] for item in runs[name]["history"] if loss in item]
        assert told == pytest.approx(losses)


def test_what_is_running_is_left_alone_and_what_is_damaged_is_named(killed: Path, tmp_path) -> None:
    (killed / "whole" / "results.json").write_text("{")
    told = []
    with locked(killed / "killed"), pytest.raises(RunError, match="1 folder could not be read"):
        for line in rebuild([killed], tmp_path):
            told.append(line)
    assert f"{killed / 'killed'}: still running, skipped" in told
    assert any("results.json is damaged: " in line for line in told)


def test_what_holds_nothing_promises_nothing(tmp_path: Path, monkeypatch, capsys) -> None:
    """No W&B run is made of an old or foreign folder, so there is none to upload."""
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "status.json").write_text('{"status": "complete"}')
    assert list(rebuild([tmp_path], tmp_path)) == [
        f"{tmp_path / 'old'}: complete, without settings: nothing to show"
    ]
    monkeypatch.setattr(sys, "argv", ["cl-wandb", str(tmp_path / "typo")])
    with pytest.raises(SystemExit):
        command.main()
    assert "is not a folder" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_one_line(killed: Path) -> None:
    (killed / "wandb").write_text("in the way")
    with pytest.raises(StorageError, match=r"runs/wandb: .*; --output FOLDER"):
        list(rebuild([killed], killed))


def test_a_server_that_is_not_there_ends_it_in_one_line(
    fresh_wandb, tmp_path: Path, monkeypatch, capfd
) -> None:
    """After one wait, whatever the number of runs, which do not change."""
    tracker = yaml.safe_load((CONF / "tracker" / "wandb.yaml").read_text())
    for name in ("a", "b"):
        run_here(tmp_path / name, *TINY)
        config = {"tracker": tracker | {"init_timeout": 1, "finish_timeout": 1}}
        (tmp_path / name / "config.yaml").write_text(yaml.safe_dump(config))
    before = local_files(tmp_path)
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    call = ["cl-wandb", str(tmp_path), "--mode", "online"]
    monkeypatch.setattr(sys, "argv", call)
    start = time.monotonic()
    with pytest.raises(SystemExit) as stopped:
        command.main()
    assert time.monotonic() - start < 30 and stopped.value.code == 1
    assert capfd.readouterr().err.count("W&B error: ") == 1
    assert {k: v for k, v in local_files(tmp_path).items() if k in before} == before


def test_a_sweep_whose_summary_fails_is_none_the_worse(cl_train_here, tmp_path: Path) -> None:
    folder = tmp_path / "outputs" / "sweeps" / "study"
    folder.mkdir(parents=True)
    (folder / "wandb").write_text("in the way")
    done = cl_train_here("-m", *TINY, "tracker=wandb", "seed=0,1", "name=study")
    assert done.returncode == 0 and "2 complete" in done.stdout
    assert done.stderr.count("W&B") == 1 and "cl-wandb" in done.stderr
    done = cl_train_here("-m", *TINY, "tracker=local", "seed=0,1", "name=study")
    assert done.returncode == 0 and "W&B" not in done.stderr


def test_a_project_of_the_environment_is_the_summarys_too(
    cl_train_here, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("PROJECT", "forgetting")
    words = ("tracker=wandb", "tracker.project=${oc.env:PROJECT}", "name=study")
    done = cl_train_here("-m", *TINY, *words)
    assert done.returncode == 0 and "W&B" not in done.stderr
    runs = rebuilt(tmp_path / "outputs" / "sweeps" / "study")
    assert [run["project"] for run in runs.values()] == ["forgetting"]


def test_a_tracker_is_made_from_what_the_folder_says() -> None:
    target = {"_target_": "cl_runner.wandb_mirror.mirror.WandB"}
    own = tracker_of({**target, "project": "p", "tags": ["a"], "nonsense": 1}, name="n")
    assert (own.project, own.tags, own.name, own.mode) == ("p", ["a"], "n", "offline")
    foreign = tracker_of({"_target_": "mine.Tracker", "project": "p"}, mode="online")
    assert (foreign.project, foreign.mode) == ("cl-runner", "online")
    hidden = {**target, "project": "<env:PROJECT>", "entity": "<masked:01234567>"}
    assert tracker_of(hidden, project="given").entity is None
    with pytest.raises(ConfigError, match=r"tracker.project=<env:PROJECT>: .*--project NAME"):
        tracker_of(hidden)
