"""Which run is continued, and that it keeps the settings it began with."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from processes import exit_code, until

from cl_runner import train
from cl_runner.config import masking
from cl_runner.config.identity import settings_digest
from cl_runner.config.unrecorded import completed
from cl_runner.errors import CheckpointError
from cl_runner.run_folder import read
from cl_runner.run_folder.resume import find, with_its_own_settings

TINY = ("epochs=2", "batch_size=64", "model.widths=[8]", "dataset.tasks=3", "strategy=lwf")
HERE = ("output_root=.", "name=run")


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """The content and time of each file, to see which are untouched."""
    files = [p for p in folder.rglob("*") if p.is_file()]
    return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in files}


def status(folder: Path) -> dict:
    return json.loads((folder / "status.json").read_text())


@pytest.fixture
def stopped(cl_train_here, tmp_path: Path) -> Path:
    """A run that stopped in its second task, at a fault that an environment variable turns off."""
    planted = ("trusted_targets=[stopping_lwf]", "strategy._target_=stopping_lwf.StoppingLwF")
    done = cl_train_here(*TINY, *HERE, "checkpoint.every_n_steps=2", "strategy.alpha=0.5", *planted)
    assert done.returncode == 3 and status(tmp_path / "run")["status"] == "failed"
    return tmp_path / "run"


@pytest.fixture(autouse=True)
def stopping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "modules"
    module.mkdir()
    (module / "stopping_lwf.py").write_text(
        "import os, torch\n"
        "from cl_runner.strategies.lwf import LwF\n"
        "class StoppingLwF(LwF):\n"
        "    def objective(self, batch):\n"
        "        terms = super().objective(batch)\n"
        "        stop = 'GO_ON' not in os.environ and batch.position[1:] == (1, 1, 1)\n"
        "        return terms | ({'stop': terms['task'] * torch.nan} if stop else {})\n"
    )
    monkeypatch.syspath_prepend(module)


def test_a_run_goes_on_with_its_own_settings(stopped, cl_train_here, monkeypatch) -> None:
    monkeypatch.setenv("GO_ON", "1")
    done = cl_train_here("resume=run", "trusted_targets=[stopping_lwf]")
    assert done.returncode == 0, done.stderr
    assert "attempt 2: going on after step" in done.stderr
    whole = cl_train_here(*TINY, "strategy.alpha=0.5", "output_root=.", "name=whole")
    assert whole.returncode == 0
    for file in ("metrics.jsonl", "predictions.npz"):
        assert (stopped / file).read_bytes() == (stopped.parent / "whole" / file).read_bytes()
    assert (status(stopped)["status"], status(stopped)["attempt"]) == ("complete", 2)


@pytest.mark.parametrize(
    ("change", "old", "new"),
    [
        ("optimizer.lr=0.002", "0.001", "0.002"),
        ("dataset.class_order=random", "numeric", "random"),
        ("seed=1", "0", "1"),
        ("model.widths=[9]", "[8]", "[9]"),
        ("strategy.alpha=0.75", "0.5", "0.75"),
    ],
)
def test_changed_settings_are_refused(change, old, new, stopped, cl_train_here) -> None:
    """Exit code 2 and a table of key, old and new; the run is left as it is."""
    before = contents(stopped)
    done = cl_train_here("resume=run", "trusted_targets=[stopping_lwf]", change)
    assert done.returncode == 2
    first, head, *rows = done.stderr.splitlines()
    assert (
        first.startswith("config error: resume=")
        and "only dataset.root, tracker, trackers, checkpoint" in first
    )
    assert head.split() == ["setting", "of", "the", "run", "now"]
    assert [row.split() for row in rows] == [[change.partition("=")[0], old, new]]
    assert contents(stopped) == before


@pytest.fixture
def earlier(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """An earlier version, which did not know three of the settings; `undo` brings today's back."""
    today = masking.as_written

    def as_written(config: object) -> dict:
        written = today(config)
        del written["diagnose"], written["model"]["classifier"]
        if written["strategy"]["_target_"].startswith("cl_runner."):  # not a class of its own
            del written["strategy"]["outputs"]
        return written

    with monkeypatch.context() as version:
        version.setattr(train.masking, "as_written", as_written)
        yield version


def test_a_setting_that_came_later_had_its_default(earlier, cl_train_here, tmp_path) -> None:
    """A complete run is read, as `cl-reproduce` asks for it; another value is refused."""
    cl_train_here(*TINY, *HERE)
    assert "diagnose" not in read.config(tmp_path / "run")
    earlier.undo()
    before = contents(tmp_path / "run")
    done = cl_train_here(*TINY, *HERE, "resume=auto")
    assert done.returncode == 0 and done.stdout.startswith("already complete"), done.stderr
    for key, default, other in (
        ("diagnose", "None", "probe"),
        ("strategy.outputs", "old", "all"),
        ("model.classifier", "linear", "cosine"),
    ):
        held_out = ["dataset.validation_fraction=0.2"] if other == "probe" else []
        done = cl_train_here(*TINY, *HERE, "resume=auto", f"{key}={other}", *held_out)
        assert done.returncode == 2
        rows = [row.split() for row in done.stderr.splitlines()[2:]]
        assert [key, default, other] in rows and len(rows) == 1 + len(held_out)
    assert contents(tmp_path / "run") == before


def test_auto_says_where_a_run_is_that_has_another_name(cl_train_here, tmp_path: Path) -> None:
    assert cl_train_here(*TINY, *HERE).returncode == 0
    run = tmp_path / "run"
    for name, said in (
        (
            ["name=other"],
            f"resume=auto: {run} is the run with these settings; name=other is not used",
        ),
        (["name=run"], ""),
        ([], ""),  # its name is the time
    ):
        done = cl_train_here(*TINY, "output_root=.", *name, "resume=auto")
        assert done.stdout.startswith(f"already complete: {run}")
        assert done.stderr == (said and f"{said}\n")


def test_auto_finds_a_run_of_an_earlier_version_by_its_settings(
    earlier, cl_train_here, tmp_path
) -> None:
    cl_train_here(*TINY, *HERE)
    earlier.undo()
    done = cl_train_here(*TINY, "output_root=.", "resume=auto")
    assert done.stdout.startswith(f"already complete: {tmp_path / 'run'}"), done.stderr
    today = completed(read.config(tmp_path / "run") or {})
    assert find(tmp_path, today) == tmp_path / "run"
    assert find(tmp_path, today | {"diagnose": "probe"}) is None


def test_an_interrupted_run_of_an_earlier_version_goes_on(
    earlier, stopped, cl_train_here, monkeypatch
) -> None:
    """It keeps its recorded settings and their digest, so that a third attempt may read it."""
    earlier.undo()
    monkeypatch.setenv("GO_ON", "1")
    digest = status(stopped)["settings"]
    assert cl_train_here("resume=run", "trusted_targets=[stopping_lwf]").returncode == 0
    assert status(stopped)["status"] == "complete" and status(stopped)["settings"] == digest
    again = cl_train_here("resume=run", "trusted_targets=[stopping_lwf]")
    assert again.returncode == 0 and again.stdout.startswith("already complete"), again.stderr


def test_threads_are_a_setting_of_the_run(cl_train_here, tmp_path: Path) -> None:
    """With other threads the results differ in their last bits."""
    cl_train_here(*TINY, *HERE)  # with threads=1
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace("threads: 1", "threads: 2"))
    done = cl_train_here("resume=run")
    assert done.returncode == 7  # somebody changed the file
    assert "its digest is not the one in status.json" in done.stderr
    digest = settings_digest(read.config(tmp_path / "run"))
    changed = {**status(tmp_path / "run"), "settings": digest}
    (tmp_path / "run" / "status.json").write_text(json.dumps(changed))
    done = cl_train_here("resume=run")
    assert done.returncode == 2 and done.stderr.splitlines()[-1].split() == ["threads", "2", "1"]


def test_what_changes_no_result_may_change(stopped, cl_train_here, monkeypatch) -> None:
    monkeypatch.setenv("GO_ON", "1")
    changes = ["tracker=wandb", "checkpoint.every_n_steps=5", "checkpoint.every_n_minutes=null"]
    done = cl_train_here("resume=run", "trusted_targets=[stopping_lwf]", *changes)
    assert done.returncode == 0, done.stderr


def test_auto_continues_the_run_with_these_settings(stopped, cl_train_here, monkeypatch) -> None:
    """Without such a run, it starts one; a complete one is only read."""
    monkeypatch.setenv("GO_ON", "1")
    own = [*TINY, "strategy.alpha=0.5", "trusted_targets=[stopping_lwf]", "resume=auto",
           "strategy._target_=stopping_lwf.StoppingLwF", "output_root=."]  # fmt: skip
    other = cl_train_here(*own, "seed=7", "name=other")
    assert other.returncode == 0 and "attempt" not in other.stderr
    done = cl_train_here(*own, "name=unused")
    assert done.returncode == 0 and "attempt 2" in done.stderr
    before = contents(stopped)
    again = cl_train_here(*own, "name=unused")
    assert again.returncode == 0 and again.stdout.startswith(f"already complete: {stopped}")
    assert contents(stopped) == before
    assert {p.name for p in stopped.parent.iterdir()} == {"run", "other", "modules"}


def test_a_complete_run_is_only_read(cl_train_here, tmp_path: Path) -> None:
    cl_train_here(*TINY, *HERE)
    before = contents(tmp_path / "run")
    done = cl_train_here("resume=run")
    assert done.returncode == 0 and done.stdout.startswith("already complete: ")
    assert "average accuracy" in done.stdout
    again = cl_train_here(*TINY, *HERE)
    assert again.returncode == 6 and "resume=" in again.stderr
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize("folder", ["nowhere", "empty", "file"])
def test_what_holds_no_run_is_not_continued(folder, cl_train_here, tmp_path: Path) -> None:
    """Exit code 7; nothing is created."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    done = cl_train_here(f"resume={folder}")
    assert done.returncode == 7
    assert done.stderr == f"checkpoint error: {folder} contains no run to resume\n"
    assert {p.name for p in tmp_path.iterdir()} == {"empty", "file", "modules"}
    assert list((tmp_path / "empty").iterdir()) == []


def test_auto_starts_in_an_empty_folder(cl_train_here, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert cl_train_here(*TINY, *HERE, "resume=auto").returncode == 0
    assert status(tmp_path / "run")["attempt"] == 1


def test_two_processes_on_one_folder(cl_train_beside, cl_train_here, tmp_path: Path) -> None:
    """The second: exit code 6, with the owner's process and host; the first is unharmed."""
    arguments = ["epochs=9999", *TINY[1:], *HERE]
    first = cl_train_beside(*arguments)
    until((tmp_path / "run" / "metrics.jsonl").exists, first)
    second = cl_train_here(*arguments, "resume=auto")
    os.kill(first, signal.SIGTERM)
    assert second.returncode == 6
    assert f"is in use by process {first} on {os.uname().nodename}" in second.stderr
    assert len(second.stderr.splitlines()) == 1
    assert exit_code(first) == 143 and status(tmp_path / "run")["status"] == "interrupted"


def test_runs_started_in_one_second_have_folders_of_their_own(
    cl_train_beside, tmp_path: Path
) -> None:
    together = [cl_train_beside(*TINY, "output_root=.") for _ in range(3)]
    assert [exit_code(child) for child in together] == [0, 0, 0]
    assert len(list(tmp_path.glob("*/results.json"))) == 3


def test_a_value_from_the_environment_may_not_change_either(
    cl_train_here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its value is not recorded, but a change is still noticed."""
    monkeypatch.setenv("ALPHA", "0.3141592653")
    given = [*TINY, *HERE, "strategy.alpha='${oc.decode:${oc.env:ALPHA}}'"]
    assert cl_train_here(*given).returncode == 0
    files = [p for p in (tmp_path / "run").rglob("*") if p.is_file()]
    assert not [p for p in files if b"0.3141592653" in p.read_bytes()]
    assert cl_train_here(*given, "resume=run").returncode == 0
    monkeypatch.setenv("ALPHA", "0.2718281828")
    done = cl_train_here(*given, "resume=run")
    assert done.returncode == 2 and "environment" in done.stderr.splitlines()[-1]


def test_where_the_data_is_may_change(cl_train_here, monkeypatch) -> None:
    monkeypatch.setenv("CL_DATA", "/one/place")
    assert cl_train_here(*TINY, *HERE).returncode == 0
    monkeypatch.setenv("CL_DATA", "/another/place")
    assert cl_train_here("resume=run").returncode == 0


def test_a_folder_cannot_say_what_code_to_trust(tmp_path: Path, capsys) -> None:
    """A run folder may come from someone else; only settings of the run are taken from it."""
    theirs = ["seed=3", "trusted_targets=[os]", "+trusted_targets=[os]", "strategy.alpha=2",
              "hydra.launcher=x", "hydra/launcher=x", "output_root=/", "name=x",
              "--config-dir=/", "experiment=../../evil", "model@strategy=mlp",
              "+experiment=../evil", "tracker.entity=${oc.env:SECRET}", "strategy=lwf",
              "first_task_cache=here", "+first_task_cache=here", "reference=there",
              "dataset.root=data", "+dataset.source.root=data", "model.widths=[${oc.env:SECRET}]",
              "trackers=[{_target_: mine.Csv, path: .bashrc}]", "trackers.0.path=.bashrc",
              "tracker._target_=mine.Csv",
              "+tracker.path=.bashrc", "tracker.project=theirs", "tracker.dir=/tmp",
              "dataset.class_order=../x", "checkpoint=\\\\host\\x"]  # fmt: skip
    (tmp_path / "overrides.yaml").write_text(yaml.safe_dump(theirs))
    given = [f"resume={tmp_path}", "strategy.alpha=1"]
    assert with_its_own_settings(given) == [
        "seed=3", "strategy=lwf", "tracker.project=theirs", *given,
    ]  # fmt: skip
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("resume: ") and "; give it again" in line for line in lines)
    ends = {line.split()[1]: line.partition("; ")[2] for line in lines}
    assert ends["dataset.root=data"] == "give it again, the run needs it"
    for override in ("first_task_cache=here", "tracker.dir=/tmp"):
        assert ends[override] == "give it again if you want it"


def test_a_foreign_folder_makes_nothing_outside_of_itself(
    stopped, cl_train_here, tmp_path: Path, monkeypatch
) -> None:
    """Neither a database at a place of its choice nor a folder named after a secret."""
    monkeypatch.setenv("SECRET", "hunter2")
    monkeypatch.setenv("GO_ON", "1")
    outside = tmp_path / "outside"
    file = stopped / "overrides.yaml"
    own = yaml.safe_load(file.read_text())
    theirs = [
        f"first_task_cache={outside}",
        "name=${oc.env:SECRET}",
        f"output_root={outside}",
        "first_task_cache=${oc.env:SECRET}",
    ]
    file.write_text(yaml.safe_dump([*own, *theirs]))
    before = sorted(tmp_path.iterdir())
    done = cl_train_here("resume=run", "trusted_targets=[stopping_lwf]")
    assert done.returncode == 0, done.stderr
    assert sorted(tmp_path.iterdir()) == before and "hunter2" not in done.stderr


def test_a_torn_last_line_is_dropped_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    event = {"event": "alarm", "task": 1, "term": "penalty", "message": "inert"}
    line = json.dumps(event).encode() + b"\n"
    file.write_bytes(line + line + b'{"eve')
    assert [found.line() for found in read.metrics(tmp_path)] == [event, event]
    assert len(read.metrics(tmp_path, len(line))) == 1
    file.write_bytes(line + b'{"ev\n' + line)
    with pytest.raises(CheckpointError, match=r"damaged: line 2: "):
        read.metrics(tmp_path)


def test_lines_that_are_missing_are_told(stopped, cl_train_here) -> None:
    """Exit code 7: if the metrics file is shorter than its checkpoint says, someone cut it."""
    (stopped / "metrics.jsonl").write_bytes(b"")
    done = cl_train_here("resume=run", "trusted_targets=[stopping_lwf]")
    assert done.returncode == 7
    assert "metrics.jsonl is damaged: its first " in done.stderr


def test_an_empty_folder_name_is_none(cl_train_here, tmp_path: Path) -> None:
    """As with `resume=$FOLDER` when the variable is not set: it is not the current folder."""
    done = cl_train_here(*TINY, "resume=''")
    assert done.returncode == 2 and "resume=: must be text that names a folder" in done.stderr
    assert {p.name for p in tmp_path.iterdir()} == {"modules"}


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("metrics.jsonl", None),
        ("overrides.yaml", b""),
        ("overrides.yaml", b"{"),
        ("config.yaml", b"{"),
        ("config.yaml", b"- a list"),
    ],
)
def test_a_damaged_file_of_a_run_is_told(file, content, stopped, cl_train_here) -> None:
    """Exit code 7 and one line, whichever file it is."""
    (stopped / file).unlink()
    if content is not None:
        (stopped / file).write_bytes(content)
    done = cl_train_here("resume=run", "trusted_targets=[stopping_lwf]")
    assert done.returncode == 7 and len(done.stderr.splitlines()) == 1, done.stderr
    assert status(stopped)["attempt"] == 1


@pytest.mark.parametrize("content", [None, b"{"])
def test_a_complete_run_without_its_results_is_told(content, cl_train_here, tmp_path) -> None:
    cl_train_here(*TINY, *HERE)
    (tmp_path / "run" / "results.json").unlink()
    if content is not None:
        (tmp_path / "run" / "results.json").write_bytes(content)
    done = cl_train_here("resume=run")
    assert done.returncode == 7 and "results.json is damaged: " in done.stderr


def test_a_stranger_s_file_is_no_run(cl_train_here, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "status.json").write_text("[1, 2]")
    assert cl_train_here(*TINY, *HERE, "resume=auto").returncode == 0


def test_a_number_is_no_secret(cl_train_here, tmp_path: Path) -> None:
    """`num_tokens` is compared like any setting, though its name looks like a secret's."""
    (tmp_path / "modules" / "tokens.py").write_text(
        "from cl_runner.strategies.finetune import Finetune\n"
        "class Tokens(Finetune):\n"
        "    def __init__(self, network, *, num_tokens: int):\n"
        "        super().__init__(network)\n"
    )
    own = [*TINY[:-1], *HERE, "trusted_targets=[tokens]", "strategy._target_=tokens.Tokens"]
    assert cl_train_here(*own, "+strategy.num_tokens=1").returncode == 0
    done = cl_train_here("resume=run", *own[-2:], "+strategy.num_tokens=5")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].split() == ["strategy.num_tokens", "1", "5"]
    assert cl_train_here("resume=run", *own[-2:]).returncode == 0
