"""Settings that came after a run was begun: its `config.yaml` lacks them.

A new setting is added with a default that means what the code did before. So a run that did not
record it had the default.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import yaml

from cl_runner.config.paths import CONF, GROUPS
from cl_runner.config.traits import Config, flat


def defaults(config: Config) -> dict[str, Any]:
    """The default of each setting of a run with this recorded configuration, flat.

    Options of one class may have different values for a setting: then it has no default. A group
    that the configuration lacks has its option in `conf/config.yaml`.
    """
    root = _read("config")
    chosen = {group: option for entry in root.pop("defaults") if isinstance(entry, dict)
              for group, option in entry.items()}  # fmt: skip
    del root["hydra"]
    found = dict(flat(root))
    for group in GROUPS:
        if group in config:
            options = list(_options_of(group, config[group]))
        else:
            options = [dict(flat(_read(f"{group}/{chosen[group]}"), group))]
        for key, value in options[0].items() if options else ():
            if all(key in option and option[key] == value for option in options):
                found[key] = value
    return found


def completed(config: Config) -> Config:
    """This recorded configuration with the settings that it lacks, at their defaults."""
    whole, found = deepcopy(config), defaults(config)
    for key, value in found.items():
        *path, name = key.split(".")
        node: Any = whole
        for part in path:
            node = node.setdefault(part, {}) if isinstance(node, dict) else None
        if isinstance(node, dict):
            shipped = found.get(".".join([*path, "_target_"]))
            if shipped == node.get("_target_", shipped):  # settings of another class differ
                node.setdefault(name, value)
    return whole


def _options_of(group: str, node: Any) -> Iterator[dict[str, Any]]:
    """The shipped options of this group with the same class, each flat."""
    target = node.get("_target_") if isinstance(node, dict) else None
    for file in sorted((CONF / group).glob("*.yaml")):
        option = _read(f"{group}/{file.stem}")
        if option.get("_target_") == target:
            yield dict(flat(option, group))


def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((CONF / f"{name}.yaml").read_text("utf-8"))
    return content
