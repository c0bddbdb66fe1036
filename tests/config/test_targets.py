"""Only a declared target can be named as a `_target_`; nothing else is ever called."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import tomllib
from pathlib import Path

import pytest
from running import composed

import cl_runner
from cl_runner.config import targets
from cl_runner.config.paths import CONF
from cl_runner.errors import ConfigError

ROOT = Path(__file__).parents[2]
BASES = {
    "cl_runner.strategies.strategy.Strategy",
    "cl_runner.tracking.tracker.Tracker",
    "cl_runner.training.schedulers.Scheduler",
}
COMMANDS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]


def named() -> set[str]:
    """Every `_target_` of `conf/` and of the suites, except Hydra's own."""
    files = [*CONF.rglob("*.yaml"), *(ROOT / "cl_runner" / "reproduce" / "suites").glob("*.yaml")]
    found = {t for file in files for t in re.findall(r"_target_: *([\w.]+)", file.read_text())}
    return {target for target in found if target.startswith("cl_runner.")}


def of_the_package() -> dict[str, object]:
    """Every class and function that a module of the package defines."""
    modules = pkgutil.walk_packages(cl_runner.__path__, "cl_runner.")
    found = [importlib.import_module(module.name) for module in modules]
    return {
        f"{thing.__module__}.{thing.__qualname__}": thing
        for module in found
        for thing in vars(module).values()
        if (inspect.isclass(thing) or inspect.isfunction(thing))
        and thing.__module__ == module.__name__
    }


def test_what_conf_names_is_declared_and_nothing_else() -> None:
    known = of_the_package()
    assert len(named()) > 20 and len(known) > 300
    assert all(targets.is_target(known[path]) for path in named())
    functions = {p for p, t in known.items() if inspect.isfunction(t) and targets.is_target(t)}
    assert functions <= named()
    for path, thing in known.items():
        if inspect.isclass(thing) and path not in named() and targets.is_target(thing):
            above = {f"{base.__module__}.{base.__qualname__}" for base in thing.__mro__}
            assert above & BASES, path


STARTS_SOMETHING = [
    "cl_runner.data.prepare._command",
    "cl_runner.data.prepare.main",
    "cl_runner.train.main",
    "cl_runner.run_folder.files.make",
    "cl_runner.jobs.child.Child",
    *(command.replace(":", ".") for command in COMMANDS.values()),
]


@pytest.mark.parametrize("path", sorted(set(STARTS_SOMETHING)))
def test_what_is_not_declared_is_refused_before_it_is_called(path: str, monkeypatch) -> None:
    module, _, name = path.rpartition(".")
    called = []

    def planted(*given: object, **settings: object) -> None:
        called.append(path)

    planted.__module__ = module
    monkeypatch.setattr(importlib.import_module(module), name, planted)
    for key in ("strategy", "model", "optimizer", "dataset.source"):
        with pytest.raises(ConfigError, match=r"not declared as a target. Hint: .*@target"):
            composed(f"{key}={{_target_:{path}}}")
    assert not called


def test_a_foreign_class_is_declared_by_itself_or_by_its_base(tmp_path, monkeypatch) -> None:
    (tmp_path / "theirs.py").write_text(
        "from cl_runner.data.digits import Digits\n"
        "from cl_runner.models.mlp import mlp\n"
        "from cl_runner.strategies.strategy import Strategy\n"
        "from cl_runner.config.targets import target\n"
        "class Derived(Strategy): ...\n"
        "class Plain: ...\n"
        "@target\n"
        "class Declared: ...\n"
        "@target\n"
        "def declared(): ...\n"
        "def plain(): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    theirs = importlib.import_module("theirs")
    assert {n for n, t in vars(theirs).items() if callable(t) and targets.is_target(t)} == {
        "Digits", "mlp", "Strategy", "Derived", "Declared", "declared"}  # fmt: skip
    for name in ("Plain", "plain"):
        with pytest.raises(ConfigError, match=f"theirs.{name}: is not declared as a target"):
            composed("trusted_targets=[theirs]", f"model={{_target_:theirs.{name}}}")
