"""`cl-train new`: what it writes works as it stands, and the commands that it prints, too."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from messages import only_line

from cl_runner.config.paths import CONF, GROUPS
from cl_runner.new import command
from cl_runner.reproduce import suite as suites

SMALL = ("epochs=1", "batch_size=100", "output_root=.")


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is trusted, and what a test imports from its folder is forgotten after it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.syspath_prepend(tmp_path)  # as for pytest; before a command adds the folder, too
    before = set(sys.modules)
    importlib.invalidate_caches()
    yield
    for name in [n for n in set(sys.modules) - before if "spin" in n]:
        del sys.modules[name]


def functions(module: str) -> list[str]:
    return [name for name in vars(sys.modules[module]) if name.startswith("test_")]


@pytest.mark.parametrize("kind", ["strategy", "model", "dataset", "metric"])
def test_what_is_written_runs_as_printed(kind: str, cl_train_here, tmp_path) -> None:
    name = f"spin_{kind}"
    done = cl_train_here("new", kind, name)
    assert done.returncode == 0, done.stderr
    written = {line.removeprefix("written: ") for line in done.stdout.splitlines() if ": " in line}
    there = {str(f.relative_to(tmp_path)) for f in tmp_path.rglob("*") if f.is_file()}
    assert (
        written
        == there
        == {f"{name}.py", f"test_{name}.py"}
        | (set() if kind == "metric" else {f"options/{kind}/{name}.yaml"})
    )
    assert not any("my_" in f.read_text() or "My" in f.read_text().replace("My ", "")
                   for f in tmp_path.rglob("*.*") if f.is_file())  # fmt: skip
    (run, test) = done.stdout.splitlines()[-2:]
    assert test == f"python -m pytest test_{name}.py"
    trained = cl_train_here(*run.split()[1:], *SMALL, "name=run")
    assert trained.returncode == 0, trained.stderr
    module = importlib.import_module(f"test_{name}")
    for test in functions(f"test_{name}"):
        needs = getattr(module, test).__code__.co_argcount
        getattr(module, test)(*([tmp_path / test] if needs else []))


def test_a_test_passes_under_pytest_itself(cl_train_here, tmp_path: Path) -> None:
    assert cl_train_here("new", "metric", "spin").returncode == 0
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_spin.py",
         "-k", "worst"], cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout


def test_a_package_can_be_built_installed_and_trusted(
    cl_train_here, tmp_path: Path, monkeypatch
) -> None:
    hatchling = pytest.importorskip("hatchling.build")
    done = cl_train_here("new", "package", "spin")
    assert done.stdout.splitlines()[-4:] == [
        "python -m pytest spin", "python -m pip install -e spin", "cl-train --trust spin",
        "cl-train strategy=spin",
    ]  # fmt: skip
    monkeypatch.syspath_prepend(tmp_path / "spin")
    _imported(tmp_path / "spin").test_the_metric_is_that_of_the_worst_class()
    monkeypatch.chdir(tmp_path / "spin")
    wheel = hatchling.build_wheel(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile(tmp_path / wheel) as archive:
        archive.extractall(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert cl_train_here("--trust", "spin").stdout.splitlines()[:2] == [
        "spin (spin 0.1.0) is trusted: commands run its code.",
        "brings: strategy=spin, metric spin_worst_class, suite spin",
    ]
    trained = cl_train_here("strategy=spin", "dataset.tasks=2", *SMALL, "name=run")
    assert trained.returncode == 0 and "spin worst class" in trained.stdout, trained.stderr
    assert [row.run for row in suites.read("spin").rows] == ["fine-tuning", "my method"]


def _imported(folder: Path):
    spec = importlib.util.spec_from_file_location("test_spin", folder / "tests" / "test_spin.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("kind", "name", "allowed"), [
    ("strategy", "ewc", "there is strategy=ewc already"), ("model", "Mine", "must be of"),
    ("model", "a-b", "must be of"), ("metric", "class", "must be of"),
    ("metric", "json", "is the name of a Python module already"),
    ("dataset", "torch", "is the name of a Python module already"),
    ("package", "cl_runner", "is the name of a Python module already"),
    ("metric", "../x", "must be of"), ("package", "a_", "must be of"),
    ("strategy", "none", "must be of"), ("model", "true", "must be of"),
    ("dataset", "null", "must be of"), ("metric", "nan", "must be of"),
    ("strategy", "teacher", "has another meaning"), ("model", "prod", "has another meaning"),
    ("dataset", "split", "has another meaning"), ("dataset", "source", "has another meaning"),
    ("metric", "np", "has another meaning"), ("metric", "forgetting", "results have such a name"),
    ("metric", "tasks", "results have such a name"),
    ("strategy", "hydra_plugins", "is the name of a Python module already"),
])  # fmt: skip
def test_a_name_that_cannot_be_used_is_one_line(kind, name, allowed, cl_train_here, tmp_path):
    line = only_line(cl_train_here("new", kind, name), 2)
    assert line.startswith(f"config error: NAME={name}: ") and allowed in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("taken", ["spin.py", "test_spin.py", "options/strategy/spin.yaml"])
def test_nothing_is_overwritten(taken: str, cl_train_here, tmp_path: Path) -> None:
    (tmp_path / taken).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / taken).symlink_to("nowhere")
    line = only_line(cl_train_here("new", "strategy", "spin"), 2)
    assert f"would overwrite {taken}" in line
    assert [f for f in tmp_path.rglob("*") if f.is_file()] == [] and os.path.lexists(taken)


def test_all_files_are_written_or_none(cl_train_here, tmp_path: Path) -> None:
    (tmp_path / "options").write_text("a file where a folder should be")
    line = only_line(cl_train_here("new", "strategy", "spin"), 5)
    assert line == "storage error: options/strategy: Not a directory"
    assert [file.name for file in tmp_path.iterdir()] == ["options"]


def test_the_name_in_the_template_can_be_used(cl_train_here, tmp_path: Path) -> None:
    assert cl_train_here("new", "strategy", "my_strategy").returncode == 0
    assert "class MyStrategy(" in (tmp_path / "my_strategy.py").read_text()


def test_every_kind_has_templates_and_a_group_of_options() -> None:
    assert {kind.name for kind in command.TEMPLATES.iterdir()} == set(command.KINDS)
    assert all(kind.group in ("", *GROUPS) for kind in command.KINDS.values())
    assert (CONF / "strategy").is_dir()


def test_what_is_written_is_what_ruff_expects_of_it(cl_train_here, tmp_path: Path) -> None:
    """Of the user's own folder, in which cl_runner is one of the installed packages."""
    for kind in ("strategy", "model", "dataset", "metric"):
        assert cl_train_here("new", kind, f"spin_{kind}").returncode == 0
    for check in (["check", "--select", "E,F,I,UP,B,SIM,RUF", "--ignore", "RUF002,RUF003"],
                  ["format", "--check"]):  # fmt: skip
        done = subprocess.run(
            ["ruff", check[0], "--isolated", "--no-cache", "--line-length", "100", *check[1:], "."],
            cwd=tmp_path, capture_output=True, text=True,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
