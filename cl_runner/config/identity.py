"""What makes a run this run: the settings that change its results, and their digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cl_runner.config.setting_types import at_task
from cl_runner.config.traits import Config, traits
from cl_runner.errors import ConfigError


def settings_digest(config: Config) -> str:
    """SHA-256 of all settings that change results; the order of keys is irrelevant."""
    return hashlib.sha256(json.dumps(fixed(config), sort_keys=True).encode()).hexdigest()


def refuse_changes(folder: Path, old: Config, new: Config) -> None:
    """Raise ConfigError with a table (key, old, new) if a setting that changes results did."""
    before, after = fixed(old), fixed(new)
    keys = [k for k in {**before, **after} if before.get(k, "–") != after.get(k, "–")]
    if not keys:
        return
    rows = [("setting", "of the run", "now")]
    rows += [(key, str(before.get(key, "–")), str(after.get(key, "–"))) for key in keys]
    widths = [max(len(row[c]) for row in rows) for c in range(3)]
    table = "".join(
        "\n  " + "  ".join(f"{cell:{w}}" for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    may = ", ".join(free(new))
    allowed = f"a resumed run must keep its settings; only {may} and the device number may change"
    raise ConfigError.of("resume", folder, allowed, f"restore these settings:{table}")


def fixed(config: Config) -> dict[str, Any]:
    """The settings that change results, flat. Of the device only the kind (`cuda`) does, not the
    number (`cuda:1`)."""
    flat = {k: v for k, v in _flat(config, "") if traits(k, config).changes_results}
    return flat | {"device": str(flat.get("device")).partition(":")[0]}


def free(config: Config) -> list[str]:
    """The settings that change no result; a node as a whole, if nothing in it does."""
    return list(_free(config, "", config))


def acting(config: Config) -> dict[str, Any]:
    """The settings that training on the first task depends on, flat."""
    kept = not config.get("reset_optimizer", True)
    found = {}
    for key, value in fixed(config).items():
        about = traits(key, config)
        if about.acts_in_first_task or (about.adds_weights and kept):
            found[key] = at_task(value, 0) if about.per_task and value else value
    return found


def _flat(node: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(node, dict) or not node:
        yield prefix, node
        return
    for key, value in node.items():
        yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))


def _free(node: Config, prefix: str, config: Config) -> Iterator[str]:
    for name, value in node.items():
        key = f"{prefix}{name}"
        if not traits(key, config).changes_results:
            yield key
        elif isinstance(value, dict):
            yield from _free(value, f"{key}.", config)
