"""`best.yaml`: the setting that did best on validation data, as an experiment for `cl-train`.

The run may have come from someone else, and a file of a folder that `--config-dir` names is taken
for settings. So the file is plain data, of known settings alone, and is in a folder of its own, in
which there is nothing that was not written here.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from cl_runner.config.overrides import key_of
from cl_runner.config.paths import CONF, GROUPS
from cl_runner.config.traits import Config, is_place, run_settings, traits
from cl_runner.hidden import WORD
from cl_runner.report.compare.runs import Run
from cl_runner.run_folder import read
from cl_runner.run_folder.files import make, write
from cl_runner.run_folder.plain import Damaged

NAME = "best"
PACKAGE = "# @package _global_\n"
OF_HYDRA = ("hydra", "defaults")
"""Keys that Hydra would take for its own, at whatever depth."""


def write_best(run: Run, output: Path) -> Path:
    """Write a file with all settings of this run that change its results, and return the folder
    with which `cl-train --config-dir FOLDER experiment=best` is that run again.

    Left out is what the run's folder keeps masked, and what is no plain value.
    """
    options = {group: _option(group, run) for group in GROUPS if group != "tracker"}
    chosen = [{f"override /{group}": name} for group, name in options.items() if name]
    config = read.config(run.folder) or {}
    known = {field.name for field in fields(run_settings())}
    given = {key: value for key, value in config.items() if key in known}
    settings = _plain(given, "", config)
    folder = _own_folder(output)
    file = folder / "experiment" / f"{NAME}.yaml"
    make(file.parent)
    text = PACKAGE + yaml.safe_dump({"defaults": chosen, **settings}, sort_keys=False)
    if not file.exists() or file.read_text() != text:
        write(file, text)
    return folder


def _own_folder(output: Path) -> Path:
    """`output`/best, or best_2 and so on where somebody has put other things there."""
    for number in count(1):
        folder = output / (NAME if number == 1 else f"{NAME}_{number}")
        ours = {folder: "dir", folder / "experiment": "dir"}
        ours[folder / "experiment" / f"{NAME}.yaml"] = "file"
        there = [folder, *folder.rglob("*")] if os.path.lexists(folder) else []
        if all(ours.get(path) == _kind(path) for path in there):
            return folder
    raise AssertionError


def _kind(path: Path) -> str:
    return "link" if path.is_symlink() else "dir" if path.is_dir() else "file"


def _option(group: str, run: Run) -> str | None:
    """The option of ours that this part was composed of: what the results name, if it is one; where
    the command line chose a class, the option that it was put into."""
    named = str(getattr(run.results, group))
    if _is_ours(group, named):
        return named
    given: Sequence[str] = ()
    with suppress(Damaged):  # all that it could say is the option's name
        given = read.overrides(run.folder) or ()
    chosen = [override.partition("=")[2] for override in given if key_of(override) == group]
    return chosen[-1] if chosen and _is_ours(group, chosen[-1]) else None


def _is_ours(group: str, option: str) -> bool:
    return option in {file.stem for file in (CONF / group).glob("*.yaml")}


def _plain(node: Any, key: str, config: Config) -> Any:
    """What of a node changes results and is a plain value. key: where it stands."""
    if isinstance(node, list):
        return [_plain(value, key, config) for value in node if _is_plain(value)]
    if not isinstance(node, dict):
        return node
    names = [name for name in node if isinstance(name, str) and _is_plain(name)]
    below = {f"{key}.{name}" if key else name: name for name in names}
    return {
        name: _plain(node[name], path, config)
        for path, name in below.items()
        if name not in OF_HYDRA
        and traits(path, config).changes_results
        and not is_place(name)
        and _is_plain(node[name])
    }


def _is_plain(value: Any) -> bool:
    """Not masked, no interpolation, nothing that Hydra would ask for."""
    if isinstance(value, str):
        return value != "???" and not WORD.search(value) and "${" not in value
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, int | list | dict)
