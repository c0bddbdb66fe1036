"""A shared first task: the results are the same as without the cache, bit for bit."""

from __future__ import annotations

import importlib
import io
import json
import os
import re
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from processes import exit_code
from running import NAMES, composed

from cl_runner.config.identity import acting
from cl_runner.config.own_code import digest_of_files, own_code
from cl_runner.config.paths import CONF
from cl_runner.run_folder.checkpoint import unpacked
from cl_runner.training import first_task
from cl_runner.training.run import run

TINY = ("dataset.tasks=2", "epochs=2", "batch_size=32", "log_every=7", "evaluate_every=epoch")
SHARED = ("ewc", "lwf", "kd", "rehearsal", "rehearsal_kd", "joint", "finetune")
CACHE = "first_task_cache=shared"
PHASE = "_target_: cl_runner.training.settings.Phase, epochs: 1, layers: head, weight_decay: null"
PHASES = f"later_phases=[{{{PHASE}}}]"


def left(folder: Path) -> tuple:
    """Everything a run has written, without seconds, memory and the name of the run."""
    results = json.loads((folder / "results.json").read_text())
    for key in ("seconds", "peak_memory_bytes"):
        del results["cost"][key]
    (file,) = (folder / "checkpoint").glob("*.ckpt")
    state = torch.load(io.BytesIO(unpacked(file)[1]), weights_only=True)
    tensors = {k: v.tolist() for k, v in state["strategy"].items() if isinstance(v, torch.Tensor)}
    lines = (folder / "metrics.jsonl").read_text()
    return results, tensors, lines, (folder / "predictions.npz").read_bytes()


def entries(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "shared").glob("*.ckpt"))


def test_runs_that_differ_later_share_it_and_end_as_without(cl_train_here, tmp_path) -> None:
    """BatchNorm, a growing head, replay, distillation, a Fisher estimate: the first task of
    fine-tuning serves them all."""
    model = ("model.batch_norm=true", "optimizer.lr=[1e-3,1e-4]")
    assert cl_train_here(*TINY, *model, CACHE, "strategy=finetune", "name=first").returncode == 0
    (entry,) = entries(tmp_path)
    written = entry.read_bytes()
    settings = {strategy: [f"strategy={strategy}"] for strategy in SHARED}
    for strategy in ("rehearsal", "rehearsal_kd"):
        settings[strategy] += ["strategy.buffer_size=20"]
    settings["inserted"] = ["strategy=lwf", "model.inserted_layer=random", "model.new_rows=default"]
    settings["frozen"] = ["strategy=ewc", "model.freeze_statistics=true"]
    for strategy, own in settings.items():
        common = [*TINY, *model, *own]
        assert cl_train_here(*common, f"name={strategy}-alone").returncode == 0
        taken = cl_train_here(*common, f"name={strategy}", CACHE)
        assert "task 1 was taken from the cache" in taken.stderr
        outputs = tmp_path / "outputs"
        assert left(outputs / strategy) == left(outputs / f"{strategy}-alone"), strategy
    assert entries(tmp_path) == [entry] and entry.read_bytes() == written


def test_a_strategy_that_learns_in_the_first_task_has_its_own(cl_train_here, tmp_path) -> None:
    """SI's path integral is part of the state; another weight of SI needs another entry."""
    for name, weight in (("one", 1), ("two", 1), ("three", 2)):
        settings = ("strategy=si", f"strategy.weight={weight}")
        assert cl_train_here(*TINY, CACHE, *settings, f"name={name}").returncode == 0
    assert cl_train_here(*TINY, "strategy=si", "name=alone").returncode == 0
    assert len(entries(tmp_path)) == 2
    outputs = tmp_path / "outputs"
    assert left(outputs / "two") == left(outputs / "one") == left(outputs / "alone")


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ("strategy.alpha=3", True),
        ("epochs=[2,5]", True),
        ("optimizer.lr=[1e-3,1]", True),
        (PHASES, True),
        ("name=other", True),
        ("model.inserted_layer=identity", True),
        ("epochs=[3,2]", False),
        ("seed=1", False),
        ("optimizer.lr=2e-3", False),
        ("model.activation=tanh", False),
        ("batch_size=33", False),
        ("dataset.pixels.flip=true", False),
        ("ce_scope=all", False),
        ("scheduler=cosine", False),
        ("precision=bf16", False),
        ("memory_format=channels_last", False),
        ("accumulate=2", False),
        ("drop_last=true", False),
        ("optimizer.head_lr=[1e-3,1]", False),
    ],
)
def test_what_the_first_task_depends_on(change: str, same: bool) -> None:
    def of(*overrides: str) -> dict:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("config", ["name=x", "epochs=2", "strategy=lwf", *overrides])
        return acting(OmegaConf.to_container(config, resolve=True))

    assert (of(change) == of()) == same
    composed("strategy=lwf", change)  # it is a setting


def test_a_damaged_entry_is_trained_again(cl_train_here, tmp_path) -> None:
    assert cl_train_here(*TINY, CACHE, "name=first").returncode == 0
    (entry,) = entries(tmp_path)
    whole = entry.read_bytes()
    entry.write_bytes(whole[:-100])
    again = cl_train_here(*TINY, CACHE, "name=again")
    assert again.returncode == 0 and "is damaged" in again.stderr
    outputs = tmp_path / "outputs"
    assert left(outputs / "again") == left(outputs / "first")
    assert "task 1 was taken from the cache" in cl_train_here(*TINY, CACHE, "name=third").stderr


def test_a_store_that_cannot_be_written_is_one_warning(cl_train_here, tmp_path) -> None:
    (tmp_path / "shared").write_text("a file")
    done = cl_train_here(*TINY, CACHE)
    assert done.returncode == 0
    assert len(re.findall("first_task_cache is not used", done.stderr)) == 1


def test_workers_side_by_side_train_it_once(cl_train_beside, tmp_path) -> None:
    """The later one waits for the entry and takes it over."""
    common = (*TINY, CACHE, "epochs=8", "evaluate_every=null")
    children = [cl_train_beside(*common, f"name={n}", f"output_root={n}") for n in "ab"]
    assert [exit_code(child) for child in children] == [0, 0]
    logs = [(tmp_path / n / n / "log.txt").read_text() for n in "ab"]
    assert sorted("taken from the cache" in log for log in logs) == [False, True]
    assert len(entries(tmp_path)) == 1


def test_the_store_is_bounded(cl_train_here, tmp_path, monkeypatch) -> None:
    """The least recently used entry is removed when a new one exceeds the limit."""
    monkeypatch.setattr(first_task, "LIMIT", 25_000_000)
    (tmp_path / "shared").mkdir()
    for age, name in enumerate(("newest", "older", "oldest")):
        file = tmp_path / "shared" / f"{name}.ckpt"
        file.write_bytes(bytes(10_000_000))
        os.utime(file, (1000 - age, 1000 - age))
    assert cl_train_here(*TINY, CACHE).returncode == 0
    left_over = {file.stem: file.stat().st_size for file in entries(tmp_path)}
    assert left_over.pop("newest") == left_over.pop("older") == 10_000_000
    assert len(left_over) == 1 and "oldest" not in left_over  # the new one


@pytest.mark.parametrize("regular", [True, False])
def test_the_users_own_code_counts(regular: bool, tmp_path: Path, monkeypatch) -> None:
    """A package that the settings name, with all its files, and modules beside it that it uses; it
    may lack an `__init__.py`."""
    name = f"own_package_{regular}"
    (tmp_path / name).mkdir()
    if regular:
        (tmp_path / name / "__init__.py").touch()
    (tmp_path / name / "used.py").write_text(f"import {name}_beside")
    (tmp_path / name / "unused.py").touch()
    (tmp_path / f"{name}_beside.py").touch()
    (tmp_path / f"{name}_unrelated.py").touch()
    (tmp_path / name / ".#used.py").symlink_to("me@here.1")  # the lock of an editor
    (tmp_path / name / "folder.py").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module(f"{name}.used")
    config = {"model": {"_target_": f"{name}.used.Net", "parts": [{"_target_": "cl_runner.x.Y"}]}}
    files = own_code(config)
    names = {str(file.relative_to(tmp_path)) for file in files}
    assert names - {f"{name}/__init__.py"} == {
        f"{name}/used.py", f"{name}/unused.py", f"{name}_beside.py",
    }  # fmt: skip
    before = digest_of_files(files)
    (tmp_path / f"{name}_beside.py").write_text("other = 1")
    assert digest_of_files(files) != before
    assert own_code({"model": {"_target_": "cl_runner.models.mlp.mlp"}}) == []


def test_an_edit_of_the_users_own_code_makes_another_entry(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "own_edited.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("own_edited")
    settings = composed("threads=1", *TINY, f"first_task_cache={tmp_path / 'shared'}")
    config = {"strategy": {"_target_": "own_edited.Mine"}}
    entries = []
    for name, text in (("one", ""), ("two", ""), ("three", "edited = True")):
        (tmp_path / "own_edited.py").write_text(text)
        run(settings, tmp_path / name, config=config, names=NAMES)
        entries.append(len(list((tmp_path / "shared").glob("*.ckpt"))))
    assert entries == [1, 1, 2]
