"""A suite on each launcher: the same verdict, and the same bits of each run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from processes import code_of

from cl_runner.jobs.in_turn import InTurn
from cl_runner.reproduce import command

SUITE = {
    "title": "Tiny", "source": "nobody", "minutes": 1, "seeds": [0],
    "common": ["epochs=1", "dataset.tasks=2", "batch_size=64", "model.widths=[8]"],
    "runs": {"plain": [], "the same": ["strategy=finetune"], "lwf": ["strategy=lwf"],
             "wrong": ["optimizer.lr=-1"], "unknown": ["strategy.wieght=1"]},
    "rows": [{"row": run, "run": run, "metric": "average_accuracy"}
             for run in ("plain", "the same", "lwf", "wrong", "unknown")],
}  # fmt: skip

FILES = ("metrics.jsonl", "predictions.npz")


def reproduced(folder: Path, *words: str, ends: int = 1) -> str:
    """What `cl-reproduce` prints for the suite, of which not all rows can pass."""
    (folder / "tiny.yaml").write_text(yaml.safe_dump(SUITE))
    code = code_of(folder, ["cl-reproduce", "tiny.yaml", *words], command.main)
    printed = (folder / "stdout").read_text() + (folder / "stderr").read_text()
    assert code == ends and "Traceback" not in printed, printed
    return printed


def verdict(folder: Path) -> dict:
    return json.loads((folder / "outputs" / "reproduce" / "tiny" / "verdict.json").read_text())


def bits(folder: Path) -> list[bytes]:
    """Of the runs that every launcher runs: of two with equal settings, one is enough."""
    names = [f"{run}-seed-0/{f}" for run in ("plain", "lwf") for f in FILES]
    return [(folder / "outputs" / "reproduce" / "tiny" / name).read_bytes() for name in names]


@pytest.fixture(scope="module")
def basic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite in child processes of this machine, one after another."""
    folder = tmp_path_factory.mktemp("basic")
    printed = reproduced(folder, "--jobs", "1")
    words = [row["verdict"] for row in verdict(folder)["rows"]]
    assert words == ["ours"] * 3 + ["failed (1 of 1 runs)"] * 2, printed
    return folder


@pytest.mark.parametrize(
    ("plugin", "launcher"),
    [
        ("", ["hydra/launcher=in_turn"]),
        (
            "joblib",
            [
                "hydra/launcher=local",
                "hydra.launcher.n_jobs=2",
                "hydra.launcher.backend=multiprocessing",
            ],
        ),  # which need not import torch again
        ("submitit", ["hydra/launcher=submitit_local"]),
        ("ray", ["hydra/launcher=ray", "hydra.launcher.ray.init.num_cpus=2"]),
    ],
    ids=["in_turn", "local", "submitit_local", "ray"],
)
def test_every_launcher_gives_the_same_verdict(basic, tmp_path: Path, plugin, launcher) -> None:
    if plugin:
        pytest.importorskip(f"hydra_plugins.hydra_{plugin}_launcher")
    printed = reproduced(tmp_path, *launcher)
    assert verdict(tmp_path) == verdict(basic), printed
    assert bits(tmp_path) == bits(basic)
    assert printed.count("failed with exit code 2: config error: optimizer.lr=-1") == 1
    assert printed.count("failed with exit code 2: config error: strategy.wieght=1") == 1


def test_runs_with_equal_settings_run_once_side_by_side(tmp_path: Path) -> None:
    """Also if both could begin at the same time."""
    only = ("--only", "plain", "--only", "the same")
    printed = reproduced(tmp_path, "--jobs", "2", *only, ends=0)
    assert "the same, seed 0: the same run as plain, seed 0" in printed
    runs = tmp_path / "outputs" / "reproduce" / "tiny"
    assert [file.parent.name for file in runs.glob("*/status.json")] == ["plain-seed-0"]
    first, second = verdict(tmp_path)["rows"][:2]
    assert first["mean"] == second["mean"] is not None


def test_a_suite_goes_on_where_another_launcher_left_it(basic, tmp_path: Path) -> None:
    """What is complete is only read, also by the launcher that began it."""
    (tmp_path / "outputs").symlink_to(basic / "outputs")
    runs = basic / "outputs" / "reproduce" / "tiny"
    before = {file: file.stat().st_mtime_ns for file in runs.glob("*/results.json")}
    for launcher in (["hydra/launcher=in_turn"], ["--jobs", "2"]):
        printed = reproduced(tmp_path, *launcher)
        assert re.search("^already complete: [23] of 5 runs$", printed, re.MULTILINE), printed
        assert {f: f.stat().st_mtime_ns for f in runs.glob("*/results.json")} == before


def test_a_run_that_the_launcher_does_not_start_is_told_as_such(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(InTurn, "launch", lambda *_, **__: [])
    printed = reproduced(tmp_path, "hydra/launcher=in_turn")
    assert printed.count(": not started by the launcher") == 4 and "missing" not in printed


def test_jobs_and_a_launcher_exclude_each_other(tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(SUITE))
    monkeypatch.chdir(tmp_path)
    words = ["cl-reproduce", "tiny.yaml", "--jobs", "2", "hydra/launcher=local"]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as stop:
        command.main()
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.startswith("config error: --jobs=2: ")
    assert "hydra.launcher.n_jobs" in error and not (tmp_path / "outputs").exists()
