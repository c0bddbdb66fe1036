"""What identifies a run: the settings that change its results, and their digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent
from typing import Any

from cl_runner.config.setting_types import at_task
from cl_runner.config.traits import Config, flat, traits
from cl_runner.config.unrecorded import defaults
from cl_runner.errors import ConfigError
from cl_runner.text import aligned


def settings_digest(config: Config) -> str:
    """SHA-256 of all settings that change results; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(fixed(config), sort_keys=True).encode()).hexdigest()


def refuse_changes(folder: Path, old: Config, new: Config) -> None:
    """Raise ConfigError with a table (key, old, new) if settings that change results differ. One
    that came after the run was begun had its default."""
    before, after = fixed(old), fixed(new)
    if later := after.keys() - before.keys():
        before |= {key: value for key, value in defaults(old).items() if key in later}
    keys = [k for k in {**before, **after} if before.get(k, "–") != after.get(k, "–")]
    if not keys:
        return
    rows = [(key, str(before.get(key, "–")), str(after.get(key, "–"))) for key in keys]
    table = indent(aligned(("setting", "of the run", "now"), rows), "  ")
    may = ", ".join(free(new))
    allowed = f"a resumed run must keep its settings; only {may} and the device number may change"
    raise ConfigError.of("resume", folder, allowed, f"restore these settings:\n{table}")


def fixed(config: Config) -> dict[str, Any]:
    """The settings that change results, flat. The device counts by its kind (`cuda`), not by its
    number (`cuda:1`)."""
    changing = {k: v for k, v in flat(config) if traits(k, config).changes_results}
    return changing | {"device": str(changing.get("device")).partition(":")[0]}


def free(config: Config) -> list[str]:
    """The settings that change no result; a node as a whole if nothing in it does."""
    return list(_free(config, "", config))


def acting(config: Config) -> dict[str, Any]:
    """The settings that training on the first task depends on, flat."""
    kept = not config.get("reset_optimizer", True)
    acting = {}
    for key, value in fixed(config).items():
        its = traits(key, config)
        if its.acts_in_first_task or (its.adds_weights and kept):
            acting[key] = at_task(value, 0) if its.per_task and value else value
    return acting


def _free(node: Config, prefix: str, config: Config) -> Iterator[str]:
    for name, value in node.items():
        key = f"{prefix}{name}"
        if not traits(key, config).changes_results:
            yield key
        elif isinstance(value, dict):
            yield from _free(value, f"{key}.", config)
