"""The traits of the settings of a run, read from the annotations of its classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache, reduce
from importlib import import_module
from operator import or_
from typing import Any, TypeAlias, get_args

import yaml

from cl_runner.config.factory import hints_of
from cl_runner.config.overrides import is_for_sweeps, key_of, last_part
from cl_runner.config.paths import CONF, GROUPS
from cl_runner.config.setting_types import LATER, Traits
from cl_runner.config.targets import known

Config: TypeAlias = dict[str, Any]


def traits(key: str, config: Config | None = None) -> Traits:
    """The traits of the setting at this key.

    config: of the run; may come from someone else. It names the class of each node; the settings
    of an unknown class have the default traits. Without it, any class of ours that has the key is
    asked; all of them agree.
    """
    its, path, node = Traits(), "", config
    targets: list[Callable[..., Any]] = [run_settings()]
    for name in key.split("."):
        its |= next((own[name] for t in targets if name in (own := traits_of(t))), Traits())
        if not its.changes_results:  # nor does anything below it; trackers are slow to import
            return its
        path = f"{path}.{name}".lstrip(".")
        if config is None:
            group = path.partition(".")[0]
            shipped = _shipped(group) if group in GROUPS else []
            targets = [target for at, target in shipped if at == path]
            continue
        node = node.get(name) if isinstance(node, dict) else None
        target = known(str(node.get("_target_"))) if isinstance(node, dict) else None
        targets = [target] if target else []
        if target and node and shares_first_task(target, node):
            its |= LATER
    return its


def shares_first_task(target: Callable[..., Any], settings: Config) -> bool:
    """Whether a strategy with these settings trains on the first task as fine-tuning does."""
    shares = getattr(target, "shares_first_task", False)
    return shares.items() <= settings.items() if isinstance(shares, Mapping) else bool(shares)


def of_one_call(override: str) -> bool:
    """Whether it belongs to one command, and has to be typed again to continue the run. Only the
    root node has such settings."""
    root = key_of(override).partition(".")[0]
    return is_for_sweeps(override) or traits_of(run_settings()).get(root, Traits()).of_one_call


def is_place(key: str) -> bool:
    """Whether it names a file or folder outside the run's own. Only its last name counts, so that
    this also holds for a class that is not known. A tracker that is not ours writes where its
    settings say, whatever they are called."""
    if key.startswith("trackers."):
        return True
    if key.startswith("tracker.") and last_part(key) not in _of_our_trackers():
        return True
    return last_part(key) in _places()


@cache
def run_settings() -> type:
    """The class of the root node, which has no `_target_`."""
    settings: type = import_module("cl_runner.training.settings").Settings  # imports torch
    return settings


@cache
def traits_of(target: Callable[..., Any]) -> Mapping[str, Traits]:
    """The traits of each parameter of a target; empty if its annotations cannot be read."""
    with suppress(Exception):
        return {name: _in(hint) for name, hint in hints_of(target, "").items()}
    return {}


def _in(hint: Any) -> Traits:
    """The traits in a type annotation, at any depth."""
    parts = (part if isinstance(part, Traits) else _in(part) for part in get_args(hint))
    return reduce(or_, parts, Traits())


@cache
def _places() -> frozenset[str]:
    groups = [group for group in GROUPS if traits(group).changes_results]
    targets = [run_settings(), *(target for group in groups for _, target in _shipped(group))]
    every = [item for target in targets for item in traits_of(target).items()]
    return frozenset(name for name, its in every if its.is_place)


@cache
def _of_our_trackers() -> frozenset[str]:
    return frozenset(name for _, target in _shipped("tracker") for name in traits_of(target))


@cache
def _shipped(group: str) -> list[tuple[str, Callable[..., Any]]]:
    """The targets that the options of a group name, each with its key."""
    options = [yaml.safe_load(f.read_text("utf-8")) for f in (CONF / group).glob("*.yaml")]
    named = dict.fromkeys(pair for option in options for pair in targets_below(group, option))
    return [(key, target) for key, path in named if (target := known(path)) is not None]


def targets_below(key: str, node: Any) -> Iterator[tuple[str, str]]:
    """The key of each node below this one that names a target, and the target's path."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield key, node["_target_"]
        for name, below in node.items():
            yield from targets_below(f"{key}.{name}", below)
    elif isinstance(node, list):
        for below in node:
            yield from targets_below(key, below)


def flat(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Each value below a node with its whole key: `("optimizer.lr", 0.1)`."""
    if not isinstance(node, dict) or not node:
        yield key, node
        return
    for name, value in node.items():
        yield from flat(value, f"{key}.{name}" if key else str(name))
