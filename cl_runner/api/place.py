"""Where the data set of a recorded run is: the caller says it, not the run's folder."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any

from cl_runner.config.traits import Config
from cl_runner.errors import ConfigError


def at(config: Config, root: str | Path | None) -> Config:
    """The configuration with the data set in this folder. What has a folder of its own below the
    recorded one (notMNIST in `five_datasets`) has it at the same place below this one.

    Raises ConfigError if the folder has to be told, or if a recorded one leads out of it.
    """
    dataset = config.get("dataset")
    if not isinstance(dataset, dict):
        return config
    parts = {key: value for key, value in dataset.items() if key != "root"}
    if root is None and _has_root(parts):
        allowed = "must be given: the files of this data set say which classes there are"
        raise ConfigError.of("root", None, allowed, "root=FOLDER")
    before, here = str(dataset.get("root", "")), Path(root or "")
    moved = {key: _moved(value, before, here) for key, value in parts.items()}
    place = {"root": str(here)} if "root" in dataset else {}
    return config | {"dataset": moved | place}


def _has_root(node: Any) -> bool:
    if isinstance(node, dict):
        return "root" in node or any(map(_has_root, node.values()))
    return isinstance(node, list) and any(map(_has_root, node))


def _moved(node: Any, before: str, here: Path) -> Any:
    """The node with each folder that was below `before` below `here`, and any other one here."""
    if isinstance(node, list):
        return [_moved(each, before, here) for each in node]
    if not isinstance(node, dict):
        return node
    return {
        key: _below(str(value), before, here) if key == "root" else _moved(value, before, here)
        for key, value in node.items()
    }


def _below(recorded: str, before: str, here: Path) -> str:
    try:
        part = PurePath(recorded).relative_to(before)
    except ValueError:
        return str(here)
    if ".." in part.parts:
        raise ConfigError.of("root", recorded, f"leads out of the data set's folder, {before}")
    return str(here / part)
