"""`cl-train new strategy NAME`: write the files of something of one's own, with a test."""

from __future__ import annotations

import argparse
import ast
import keyword
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from cl_runner.config.paths import CONF
from cl_runner.errors import ConfigError, StorageError
from cl_runner.metrics import METRICS, TAKEN
from cl_runner.plugins import trusted
from cl_runner.run_folder import outcome  # noqa: F401  # fills TAKEN
from cl_runner.run_folder.files import make, write
from cl_runner.text import harmless

TEMPLATES = Path(__file__).parent / "templates"
NAME = re.compile("[a-z]([a-z0-9_]{0,58}[a-z0-9])?")
OTHERWISE = ("null", "true", "false", "nan", "inf")
"""Words that are no names on the command line."""


@dataclass(frozen=True)
class Kind:
    """What can be written, and the commands to go on with; NAME stands for its name."""

    what: str
    commands: tuple[str, ...]
    group: str = ""  # of options that the name becomes one of


KINDS = {
    "strategy": Kind(
        "a method: its equation, its settings, a test",
        (
            "cl-train --config-dir options trusted_targets=[NAME] strategy=NAME",
            "python -m pytest test_NAME.py",
        ),
        "strategy",
    ),
    "model": Kind(
        "a network: its layers, its settings, a test",
        (
            "cl-train --config-dir options trusted_targets=[NAME] model=NAME",
            "python -m pytest test_NAME.py",
        ),
        "model",
    ),
    "dataset": Kind(
        "a data set: how it is loaded, its tasks, a test",
        (
            "cl-train --config-dir options trusted_targets=[NAME] dataset=NAME",
            "python -m pytest test_NAME.py",
        ),
        "dataset",
    ),
    "metric": Kind(
        "a metric: a function of what a run records, a test",
        ("cl-train trusted_targets=[NAME]", "python -m pytest test_NAME.py"),
    ),
    "package": Kind(
        "a package that can be installed, with a method, a metric, a suite and a test",
        (
            "python -m pytest NAME",
            "python -m pip install -e NAME",
            "cl-train --trust NAME",
            "cl-train strategy=NAME",
        ),
        "strategy",
    ),
}


def main(words: Sequence[str]) -> None:
    """Write the files into the current folder. Raises ConfigError for a name that cannot be used,
    and if one of the files exists."""
    parser = argparse.ArgumentParser(prog="cl-train new", description=__doc__)
    every = "\n".join(f"{name}: {kind.what}" for name, kind in KINDS.items())
    parser.add_argument("kind", choices=KINDS, help=every.replace("\n", "; "))
    parser.add_argument("name", metavar="NAME", help="small letters, digits and _")
    asked = parser.parse_args(list(words))
    _check(asked.kind, asked.name)
    files = contents(asked.kind, asked.name)
    for file in files:
        if Path(file).exists() or Path(file).is_symlink():
            raise ConfigError.of("NAME", asked.name, f"would overwrite {file}", "another name")
    _write(files)
    commands = (command.replace("NAME", asked.name) for command in KINDS[asked.kind].commands)
    print(harmless("\n".join([*(f"written: {file}" for file in files), "", *commands])))


def contents(kind: str, name: str) -> Mapping[str, str]:
    """The text of each file, by its path in the current folder."""
    folder = TEMPLATES / kind
    root = f"{name}/" if kind == "package" else ""
    title = _title(name)
    files = {}
    for file in sorted(folder.rglob("*.*")):
        if file.is_file() and file.suffix in (".py", ".yaml", ".toml"):
            place = file.relative_to(folder).as_posix()
            text = file.read_text("utf-8").replace(f"My{kind.title()}", title)
            files[root + place.replace(f"my_{kind}", name)] = text.replace(f"my_{kind}", name)
    return files


def _title(name: str) -> str:
    """The name of its class."""
    return "".join(part.title() for part in name.split("_"))


def _write(files: Mapping[str, str]) -> None:
    """All of them, or none. Raises StorageError."""
    written: list[Path] = []
    try:
        for file, text in files.items():
            make(Path(file).parent)
            write(Path(file), text)
            written.append(Path(file))
    except StorageError:
        for path in written:
            path.unlink(missing_ok=True)
        raise


def _check(kind: str, name: str) -> None:
    """Raise ConfigError unless it can be the name of a module that nothing else has."""
    if not NAME.fullmatch(name) or {name, _title(name)} & {*keyword.kwlist, *OTHERWISE}:
        allowed = "must be of lowercase letters, digits and _ between them, and no word of Python's"
        raise ConfigError.of("NAME", name, allowed)
    option = Path(KINDS[kind].group, f"{name}.yaml")
    if any((folder / option).is_file() for folder in (CONF, *trusted.conf_folders())):
        raise ConfigError.of(
            "NAME", name, f"there is {option.parent}={name} already", "another name"
        )
    if kind == "metric" and (name in METRICS or name in TAKEN):
        raise ConfigError.of("NAME", name, "results have such a name already", "another name")
    if name in sys.stdlib_module_names or name in sys.builtin_module_names or _is_installed(name):
        raise ConfigError.of("NAME", name, "is the name of a Python module already", "another name")
    if not {name, _title(name)}.isdisjoint(_names_in(kind)):
        raise ConfigError.of("NAME", name, "has another meaning in the files", "another name")


def _names_in(kind: str) -> set[str]:
    """What the code of its files has names for, which must keep their meaning."""
    found = set[str]()
    for file in (TEMPLATES / kind).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = [getattr(node, key, None) for key in ("id", "arg", "asname", "name")]
            found.update(name for name in names if isinstance(name, str))
    return found - {f"my_{kind}", f"My{kind.title()}"}


def _is_installed(name: str) -> bool:
    """Whether a module of this name can be imported from elsewhere than the current folder."""
    spec = find_spec(name)
    places = [*(spec.submodule_search_locations or ()), spec.origin or ""] if spec else []
    return any(Path.cwd() not in Path(place).resolve().parents for place in places if place)
