"""What the settings of a run are: asked of the annotations of its classes, where it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import Any, TypeAlias, get_args

import yaml

from cl_runner.config.factory import hints_of
from cl_runner.config.overrides import is_for_sweeps, key_of
from cl_runner.config.paths import CONF, GROUPS
from cl_runner.config.setting_types import LATER, Traits
from cl_runner.config.targets import known

Config: TypeAlias = dict[str, Any]


def traits(key: str, config: Config | None = None) -> Traits:
    """What the setting at this key is.

    config: of the run, may come from someone else. It says what class each of its nodes is of;
    where a class is not known, its settings are as `Traits()` says. Without it: what a key on the
    command line is in whichever of our classes has it; all that have it agree.
    """
    found, path, node = Traits(), "", config
    targets: list[Callable[..., Any]] = [run_settings()]
    for name in key.split("."):
        found |= next((named[name] for t in targets if name in (named := traits_of(t))), Traits())
        if not found.changes_results:  # nor does anything below it; trackers are slow to import
            return found
        path = f"{path}.{name}".lstrip(".")
        if config is None:
            group = path.partition(".")[0]
            shipped = _shipped(group) if group in GROUPS else []
            targets = [target for at, target in shipped if at == path]
            continue
        node = node.get(name) if isinstance(node, dict) else None
        target = known(str(node.get("_target_"))) if isinstance(node, dict) else None
        targets = [target] if target else []
        if getattr(target, "shares_first_task", False):
            found |= LATER
    return found


def of_one_call(override: str) -> bool:
    """Whether it belongs to one command, so that whoever continues the run types it again."""
    return is_for_sweeps(override) or traits(key_of(override)).of_one_call


def is_place(key: str) -> bool:
    """Whether it names a file or folder outside the run's own. By its last name, which a class
    that is not known may have, too."""
    return key.rpartition(".")[2] in _places()


@cache
def run_settings() -> type:
    """The class of the root node, which has no `_target_`."""
    found: type = import_module("cl_runner.training.settings").Settings  # imports torch
    return found


@cache
def traits_of(target: Callable[..., Any]) -> Mapping[str, Traits]:
    """Those of each of its parameters; empty if its annotations cannot be read."""
    with suppress(Exception):
        return {name: _in(hint) for name, hint in hints_of(target, "").items()}
    return {}


def _in(hint: Any) -> Traits:
    """What a type annotation says, at whatever depth."""
    found = Traits()
    for part in get_args(hint):
        found |= part if isinstance(part, Traits) else _in(part)
    return found


@cache
def _places() -> frozenset[str]:
    groups = [group for group in GROUPS if traits(group).changes_results]
    targets = [run_settings(), *(target for group in groups for _, target in _shipped(group))]
    named = [item for target in targets for item in traits_of(target).items()]
    return frozenset(name for name, its in named if its.is_place)


@cache
def _shipped(group: str) -> list[tuple[str, Callable[..., Any]]]:
    """Of the options of a group: at which key, what target."""
    options = [yaml.safe_load(f.read_text("utf-8")) for f in (CONF / group).glob("*.yaml")]
    found = dict.fromkeys(pair for option in options for pair in _targets(group, option))
    return [(key, target) for key, path in found if (target := known(path)) is not None]


def _targets(key: str, node: Any) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield key, node["_target_"]
        for name, below in node.items():
            yield from _targets(f"{key}.{name}", below)
    elif isinstance(node, list):
        for below in node:
            yield from _targets(key, below)
