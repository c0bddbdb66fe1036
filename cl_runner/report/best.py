"""`best.yaml`: the setting that did best on validation data, as an experiment for `cl-train`.

The run may come from someone else, and Hydra reads settings from every file below `--config-dir`.
So the file is plain data with known settings only, in a folder that holds nothing else.
"""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from cl_runner.config.overrides import key_of
from cl_runner.config.paths import CONF, GROUPS, HERE
from cl_runner.config.traits import Config, is_place, run_settings, targets_below, traits
from cl_runner.hidden import WORD
from cl_runner.plugins import trusted as plugins
from cl_runner.report.compare.runs import Run
from cl_runner.run_folder import read
from cl_runner.run_folder.files import make, write
from cl_runner.run_folder.plain import Damaged

NAME = "best"
PACKAGE = "# @package _global_\n"
OF_OWN = f"# An option of your own; its settings are in experiment/{NAME}.yaml.\n{{}}\n"
PARTS = [group for group in GROUPS if group != "tracker"]
HYDRAS_OWN = ("hydra", "defaults")
"""Keys that mean something to Hydra, at any depth."""


def write_best(run: Run, output: Path) -> Path:
    """Write all settings of this run that change its results. Returns the folder with which
    `cl-train --config-dir FOLDER experiment=best` repeats the run.

    Settings that are masked in the run's folder, or that are not plain values, are left out.
    """
    config = read.config(run.folder) or {}
    named = {group: name for group in PARTS if (name := _name_of_own(group, run, config))}
    options = {group: named.get(group) or _option(group, run) for group in PARTS}
    # Of an option of the user's own there is an empty file, which gives the new run the same name,
    # or null: the settings below are all it has, and no default's remain.
    chosen = [
        {f"override /{group}": name}
        for group, name in options.items()
        if name or "_target_" in (config.get(group) or {})
    ]
    known = {field.name for field in fields(run_settings())}
    given = {key: value for key, value in config.items() if key in known}
    settings = _plain(given, "", config)
    texts = {f"{group}/{name}.yaml": OF_OWN for group, name in named.items()}
    defaults = {"defaults": chosen, **settings}
    texts[f"experiment/{NAME}.yaml"] = PACKAGE + yaml.safe_dump(defaults, sort_keys=False)
    folder = _own_folder(output)
    for place, text in texts.items():
        file = folder / place
        make(file.parent)
        if not file.exists() or file.read_text() != text:
            write(file, text)
    return folder


def command(folder: Path, run: Run) -> tuple[str, str]:
    """The command that repeats the run with this folder, and what has to be said about it: that it
    lacks a path, or that it lets code of other packages run. Their names come from the run; only
    names of Python's are repeated."""
    settings = yaml.safe_load((folder / "experiment" / f"{NAME}.yaml").read_text("utf-8"))
    named = {path.partition(".")[0] for _, path in targets_below("", settings)}
    known = {HERE.name, *plugins.packages()}
    others = sorted(name for name in named - known if name.isidentifier() and len(name) <= 80)
    words = ["cl-train", "--config-dir", str(folder), f"experiment={NAME}"]
    sentences = []
    keys = [key for key in map(key_of, _typed(run)) if re.fullmatch(r"\w+(\.\w+){0,9}", key)]
    if places := [f"{key}=PATH" for key in dict.fromkeys(keys) if is_left_out(key)]:
        words += places
        sentences.append(" Put your own path in place of PATH: files do not repeat paths.")
    if others:
        words.append(f"trusted_targets=[{','.join(others)}]")
        listed = ", ".join(others)
        trust = f" The command lets code of {listed} run: give it only if you trust that."
        sentences.append(trust)
    return shlex.join(words), "".join(sentences)


def is_left_out(key: str) -> bool:
    """Whether this setting of a part of the run has to be typed again, as its value is a path."""
    return key.partition(".")[0] in PARTS and is_place(key)


def _own_folder(output: Path) -> Path:
    """`output`/best; if that holds anything else, best_2 and so on."""
    for number in count(1):
        folder = output / (NAME if number == 1 else f"{NAME}_{number}")
        ours = dict.fromkeys([folder, *(folder / name for name in ("experiment", *PARTS))], "dir")
        ours[folder / "experiment" / f"{NAME}.yaml"] = "file"
        there = [folder, *folder.rglob("*")] if os.path.lexists(folder) else []
        if all(ours.get(path) == _kind(path) or _is_of_own(path) for path in there):
            return folder
    raise AssertionError


def _is_of_own(path: Path) -> bool:
    """Whether it is a file that only names an option, perhaps of an earlier report."""
    if path.parent.name not in PARTS or not path.is_file() or path.is_symlink():
        return False
    return path.stat().st_size < 1000 and path.read_bytes() == OF_OWN.encode()


def _kind(path: Path) -> str:
    return "link" if path.is_symlink() else "dir" if path.is_dir() else "file"


def _name_of_own(group: str, run: Run, config: Config) -> str | None:
    """The name of a part whose class is the user's, if it can be that of an option."""
    node, named = config.get(group), str(getattr(run.results, group, ""))
    package = str(node.get("_target_", "")).partition(".")[0] if isinstance(node, dict) else ""
    if package in ("", HERE.name) or not re.fullmatch(r"\w{1,80}", named, re.ASCII):
        return None
    return None if (CONF / group / f"{named}.yaml").is_file() else named


def _option(group: str, run: Run) -> str | None:
    """The shipped option that this part was composed from: the one that the results name. If the
    command line replaced its class, they name the class: then the one on the command line. Without
    an option the settings still say everything."""
    ours = {file.stem for file in (CONF / group).glob("*.yaml")}
    named = str(getattr(run.results, group, ""))  # they do not name the scheduler
    if named in ours:
        return named
    typed = [override.partition("=")[2] for override in _typed(run) if key_of(override) == group]
    return typed[-1] if typed and typed[-1] in ours else None


def _typed(run: Run) -> Sequence[str]:
    """The command line of the run; it gives no more than names and keys."""
    with suppress(Damaged):
        return read.overrides(run.folder) or ()
    return ()


def _plain(node: Any, key: str, config: Config) -> Any:
    """The plain values below a node that change results. key: the node's own."""
    if isinstance(node, list):
        return [_plain(value, key, config) for value in node if _is_plain(value)]
    if not isinstance(node, dict):
        return node
    names = [name for name in node if isinstance(name, str) and _is_plain(name)]
    below = {f"{key}.{name}" if key else name: name for name in names}
    return {
        name: _plain(node[name], path, config)
        for path, name in below.items()
        if name not in HYDRAS_OWN
        and traits(path, config).changes_results
        and not is_place(name)
        and _is_plain(node[name])
    }


def _is_plain(value: Any) -> bool:
    """Whether it is data as it stands: not masked, no interpolation, not missing."""
    if isinstance(value, str):
        return value != "???" and not WORD.search(value) and "${" not in value
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, int | list | dict)
