"""Settings that came after a run was begun: its `config.yaml` lacks them.

A new setting is added with a default that means what the code did before. So a run that did not
record it had the default.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from typing import Any

import yaml

from cl_runner.config.paths import CONF, GROUPS
from cl_runner.config.traits import Config, flat, is_place


def defaults(config: Config) -> dict[str, Any]:
    """The default of each setting of a run with this recorded configuration, flat.

    Options of one class may have different values for a setting: then it has no default. A group
    that the configuration lacks has its option in `conf/config.yaml`.
    """
    root = _read("config")
    chosen = {group: option for entry in root["defaults"] if isinstance(entry, dict)
              for group, option in entry.items()}  # fmt: skip
    found = dict(flat({key: root[key] for key in root if key not in ("defaults", "hydra")}))
    for group in GROUPS:
        if group in config:
            node = config[group]
            target = node.get("_target_") if isinstance(node, dict) else None
            found |= _of_all(group, None if target is None else str(target))
        else:
            found |= flat(_read(f"{group}/{chosen[group]}"), group)
    return found


def completed(config: Config) -> Config:
    """The recorded configuration with the defaults of the settings that it lacks, but for folders
    of its parts: where data is, no default says."""
    whole, found = deepcopy(config), defaults(config)
    for key, value in found.items():
        *path, last = key.split(".")
        node: Any = whole
        for name in path:
            node = node.setdefault(name, {}) if isinstance(node, dict) else None
        if isinstance(node, dict) and not (path and is_place(last)):
            shipped = found.get(".".join([*path, "_target_"]))
            if shipped == node.get("_target_", shipped):  # another class has other settings
                node.setdefault(last, value)
    return whole


@cache
def _of_all(group: str, target: str | None) -> dict[str, Any]:
    """The settings that all shipped options of this class have, and with the same value; flat."""
    first, *others = [*_options_of(group, target)] or [{}]
    same = first.items()
    return {k: v for k, v in same if all(k in other and other[k] == v for other in others)}


def _options_of(group: str, target: str | None) -> Iterator[dict[str, Any]]:
    """The shipped options of this group with this class, each flat."""
    for file in sorted((CONF / group).glob("*.yaml")):
        option = _read(f"{group}/{file.stem}")
        if option.get("_target_") == target:
            yield dict(flat(option, group))


@cache
def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((CONF / f"{name}.yaml").read_text("utf-8"))
    return content
