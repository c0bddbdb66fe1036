"""Folders that are damaged or come from someone else: one line each, and the rest is reported."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from running import NAMES, composed

from cl_runner.errors import CheckpointError
from cl_runner.report import command
from cl_runner.report.compare.runs import read as runs
from cl_runner.run_folder import read
from cl_runner.run_folder.checkpoint import loaded, packed, unpacked
from cl_runner.run_folder.plain import DEPTH, Damaged, as_yaml
from cl_runner.text import harmless, one_line
from cl_runner.tracking.local import LocalFiles
from cl_runner.training.run import run
from cl_runner.wandb_mirror.late import replace_earlier

sys.path.append(str(Path(__file__).parents[2] / "scripts"))
import damage
import fuzz_folders

TINY = ("dataset.tasks=2", "epochs=1", "batch_size=400", "model.widths=[8]", "threads=1")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep, a suite and a search of two runs; a test that damages it takes a copy."""
    return fuzz_folders.make(tmp_path_factory.mktemp("made"))


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "copy")


@pytest.mark.parametrize("name", fuzz_folders.WAYS)
def test_no_damage_ends_in_a_traceback(name: str, made: Path, tmp_path: Path) -> None:
    found = Counter(fuzz_folders.outcomes(made, name, range(5), tmp_path / "work"))
    assert not [way for way, ended in found if ended == "traceback"], found


def test_what_is_whole_is_read(made: Path) -> None:
    states = {run.folder.name: run.state for run in runs([made])}
    assert states == {fuzz_folders.CLASSES: "complete", fuzz_folders.LINES: "complete"}
    assert read.predictions(made / fuzz_folders.CLASSES)
    assert len(read.metrics(made / fuzz_folders.CLASSES)) == 4
    assert read.verdict(made) and fuzz_folders.search(made) and fuzz_folders.compared(made)


FIELDS = [
    *(("results.json", key, value) for key, value in
      [("accuracy", [[0.5]]), ("accuracy", 0.5), ("average_accuracy", None), ("tasks", [{}, {}]),
       ("cost", {"seconds": "1"}), ("seed", []), ("alarms", [1]), ("metrics_are_of", "mse"),
       ("conventions", {}), ("conventions", {"scenario": 5}), ("forgetting", 10**400),
       ("forgetting", True), ("strategy", "\ud800"), ("environment", 1)]),
    *(("status.json", key, value) for key, value in
      [("status", []), ("status", "gone"), ("attempt", "1"), ("names", []), ("run_id", 7)]),
    *(("config.yaml", key, value) for key, value in
      [("strategy", 5), ("seed", []), ("epochs", "x"), ("tracker", 1), (5, 5), ("dataset", None)]),
]  # fmt: skip


def test_a_field_of_another_type_is_damage_for_a_report(copy: Path) -> None:
    folder = copy / fuzz_folders.CLASSES
    for name, key, value in FIELDS:
        before = (folder / name).read_text()
        node = yaml.safe_load(before)
        node[key] = value
        (folder / name).write_text(
            (json if name.endswith("json") else yaml).dumps(node)
            if name.endswith("json")
            else yaml.safe_dump(node)
        )
        found = {run.folder.name: run for run in runs([copy])}
        assert found[fuzz_folders.CLASSES].state == "damaged", (name, key, value)
        assert name in found[fuzz_folders.CLASSES].error
        assert found[fuzz_folders.LINES].state == "complete"
        (folder / name).write_text(before)


BOMBS = {
    "aliases that grow": ("config.yaml", damage.BOMB.encode()),
    "an alias of itself": ("config.yaml", b"a: &a [*a]"),
    "deep YAML": ("config.yaml", b"[" * 10**5),
    "deep JSON": ("results.json", b"[" * 10**6),
    "nested just too deeply": ("status.json", b"[" * DEPTH + b"1" + b"]" * DEPTH),
    "text that is too long": ("status.json", b" " * 5 * 2**20),
    "18 GB of zeros": ("../001_lines/predictions.npz", damage.bomb_of_arrays(18 * 10**9)),
}


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_one_line_and_the_rest_is_reported(bomb, copy) -> None:
    name, content = BOMBS[bomb]
    (copy / fuzz_folders.CLASSES / name).write_bytes(content)
    start = time.process_time()
    command.report([copy], copy / "report")
    assert time.process_time() - start < 5
    assert sorted(run.state for run in runs([copy])) == ["complete", "damaged"]
    assert "1 damaged" in (copy / "report" / "report.html").read_text()


def test_a_pipe_is_not_waited_for(copy: Path) -> None:
    file = copy / fuzz_folders.CLASSES / "status.json"
    file.unlink()
    os.mkfifo(file)
    assert Counter(run.state for run in runs([copy]))["damaged"] == 1


@pytest.mark.usefixtures("no_figures")
def test_a_ledger_and_a_verdict_that_are_damaged_are_a_line_each(copy) -> None:
    (copy / "verdict.json").write_text('{"suite": "of theirs", "rows": []}')
    ledger = json.loads((copy / "sweep.json").read_text())
    ledger["jobs"][0]["folder"] = ".."
    (copy / "sweep.json").write_text(json.dumps(ledger))
    lines, _ = command.report([copy], copy / "report")
    assert "there is no suite of theirs" in lines[0]
    assert [run.state for run in runs([copy])].count("complete") == 2
    (error,) = [run.error for run in runs([copy]) if run.state == "damaged"]
    assert "must be the name of a folder in the same place" in error


def test_we_write_no_alias() -> None:
    shared = [1, 2]
    node = {"a": shared, "b": shared, "c": [shared, {"d": shared}]}
    text = as_yaml(node, default_flow_style=None)
    assert "&" not in text and "*" not in text and yaml.safe_load(text) == node


def going_on(folder: Path) -> None:
    """Continue the run as if it had been interrupted after its last task."""
    status = json.loads((folder / "status.json").read_text())
    (folder / "status.json").write_text(json.dumps({**status, "status": "interrupted"}))
    run(composed(*TINY, f"resume={folder}"), folder, config={}, names=NAMES)


def whole(folder: Path) -> dict[str, bytes]:
    return {str(f): f.read_bytes() for f in folder.rglob("*") if f.is_file() and f.name != ".lock"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    run(composed(*TINY), folder, config={}, names=NAMES)
    return folder


@pytest.mark.parametrize("damaged", ["zeros", "last byte", "a number", "a line", "cut"])
def test_metrics_that_a_checkpoint_calls_durable_are_as_they_were(
    damaged: str, trained: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(trained, tmp_path / "run")
    file = folder / "metrics.jsonl"
    good = file.read_bytes()
    file.write_bytes(
        {
            "zeros": bytes(len(good)),
            "last byte": good[:-1] + b"x",
            "a number": good.replace(b'"step": 1', b'"step": 2', 1),
            "cut": good[:-1],
            "a line": good.split(b"\n", 1)[1] + b" " * len(good.split(b"\n", 1)[0]) + b"\n",
        }[damaged]
    )
    before = {k: v for k, v in whole(folder).items() if "status" not in k}
    with pytest.raises(CheckpointError, match=r"metrics.jsonl is damaged: .*Hint: restore") as info:
        going_on(folder)
    assert info.value.exit_code == 7
    assert {k: v for k, v in whole(folder).items() if "status" not in k} == before


def test_what_follows_the_durable_bytes_is_dropped(trained: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(trained, tmp_path / "run")
    with (folder / "metrics.jsonl").open("ab") as file:
        file.write(b'{"event": "st')
    going_on(folder)
    assert (folder / "metrics.jsonl").read_bytes() == (trained / "metrics.jsonl").read_bytes()


def test_a_checkpoint_says_the_digest_of_its_metrics(trained: Path) -> None:
    """It is updated line by line, and equals the digest of the file."""
    (file,) = (trained / "checkpoint").glob("*.ckpt")
    state = loaded(unpacked(file)[1])
    content = (trained / "metrics.jsonl").read_bytes()[: state["metrics_size"]]
    assert state["metrics_sha256"] == hashlib.sha256(content).hexdigest()
    assert LocalFiles(trained).durable()["metrics_size"] == 0


OTHER_STATES = {
    "no part": lambda s: s.pop("strategy"),
    "a part of text": lambda s: s.update(optimizer="x"),
    "a key more": lambda s: s["strategy"].update(evil=torch.zeros(1)),
    "a tensor of another shape": lambda s: s["strategy"].update(
        {next(iter(s["strategy"])): torch.zeros(2)}
    ),
    "a tensor of another type": lambda s: s["strategy"].update(
        {k: v.long() for k, v in list(s["strategy"].items())[:1]}
    ),
    "an optimizer's tensor": lambda s: s["optimizer"]["state"][0].update(exp_avg=torch.zeros(3)),
    "weights of early stopping": lambda s: s["early_stopping"].update(
        weights={"x": torch.zeros(3)}
    ),
    "an optimizer's step": lambda s: s["optimizer"]["state"][0].pop("step"),
    "a step of text": lambda s: s["cost"].update(steps="1"),
    "no cost": lambda s: s.pop("cost"),
    "an alarm that is no text": lambda s: s.update(alarms=[1]),
    "rows of numbers": lambda s: s["evaluator"].update(among_seen=[0.5, 0.5]),
    "no rows": lambda s: s["evaluator"].update(among_seen=[]),
    "a task below zero": lambda s: s["position"].update(task=-1),
    "threads of text": lambda s: s["environment"].update(threads="1"),
    "a generator": lambda s: s["generators"].update(cpu=torch.zeros(3, dtype=torch.uint8)),
    "a size of text": lambda s: s.update(metrics_size="0"),
}


@pytest.mark.parametrize("change", OTHER_STATES)
def test_a_checkpoint_with_a_right_digest_and_other_content(change, trained, tmp_path) -> None:
    """Exit code 7, before anything in the run folder is changed."""
    folder = shutil.copytree(trained, tmp_path / "run")
    (file,) = (folder / "checkpoint").glob("*.ckpt")
    manifest, archive = unpacked(file)
    state = loaded(archive)
    OTHER_STATES[change](state)
    del manifest["size"]
    file.write_bytes(packed(state, manifest))
    before = {k: v for k, v in whole(folder).items() if "status" not in k}
    with pytest.raises(CheckpointError):
        going_on(folder)
    assert {k: v for k, v in whole(folder).items() if "status" not in k} == before


@pytest.mark.usefixtures("no_figures")
def test_control_characters_of_others_are_shown_and_never_sent(copy, monkeypatch, capsys) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\r\x9b1m\u202e"
    folder = copy / fuzz_folders.CLASSES
    for name in ("results.json", "status.json"):
        text = (folder / name).read_text().replace(': "test"', ": " + json.dumps(evil))
        (folder / name).write_text(text)
    monkeypatch.setattr(sys, "argv", ["cl-report", str(copy)])
    command.main()
    printed = capsys.readouterr().out
    assert "\\x1b[2J" in printed and not (set(evil) - set("[]0;owned2J1m")) & set(printed)
    assert str(Damaged(Path(evil), evil)).isprintable()
    assert harmless("a\tb\nc") == "a\tb\nc" and one_line("a\nb") == "a\\nb"
    assert harmless(evil).isprintable() and harmless("é – \u4e2d") == "é – \u4e2d"


@pytest.mark.parametrize("evil", ["*", "../../x", "[a-z]", "0123456", "a/b"])
def test_an_id_is_no_pattern(evil: str, copy: Path) -> None:
    """It is used to find the W&B runs that a later one replaces."""
    for folder, name, key in (
        (copy / fuzz_folders.CLASSES, "status.json", "run_id"),
        (copy, "sweep.json", "id"),
    ):
        node = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**node, key: evil}))
    for reader in (lambda: read.status(copy / fuzz_folders.CLASSES), lambda: read.ledger(copy)):
        with pytest.raises(Damaged):
            reader()
    offline = copy / "wandb" / "offline-run-1"
    offline.mkdir(parents=True)
    (offline / "run-kept.wandb").write_text("")
    made = SimpleNamespace(id=evil, dir=str(copy / "wandb" / "offline-run-2" / "files"))
    replace_earlier(copy, made)
    assert offline.exists()
