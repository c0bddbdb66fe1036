"""What makes a run this run: which settings may change, and the digest of all others."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from cl_runner.config.setting_types import at_task
from cl_runner.errors import ConfigError

Config = dict[str, Any]


MAY_CHANGE = (
    *("tracker", "checkpoint", "first_task_cache", "dataset.root", "output_root", "name"),
    *("resume", "trusted_targets", "plan"),
)
"""Settings that change no result; all others of a continued run must be as they were. Of the
device only the number may change (`cuda:0`, `cuda:1`), not the kind."""


def settings_digest(config: Config) -> str:
    """SHA-256 of all settings that may not change; the order of keys is irrelevant."""
    return hashlib.sha256(json.dumps(fixed(config), sort_keys=True).encode()).hexdigest()


def refuse_changes(folder: Path, old: Config, new: Config) -> None:
    """Raise ConfigError with a table (key, old, new) if a setting that must not change did."""
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
    may = ", ".join(MAY_CHANGE)
    allowed = f"a continued run keeps its settings, only {may} and the device's number may change"
    raise ConfigError.of("resume", folder, allowed, f"leave as they were:{table}")


def changes_no_result(key: str) -> bool:
    """Whether it is one of MAY_CHANGE, or a setting of one."""
    return any(key == k or key.startswith(f"{k}.") for k in MAY_CHANGE)


def fixed(config: Config) -> dict[str, Any]:
    """The settings that may not change, flat."""
    flat = {key: value for key, value in _flat(config, "").items() if not changes_no_result(key)}
    return flat | {"device": str(flat.get("device")).partition(":")[0]}


def _flat(node: Any, prefix: str) -> dict[str, Any]:
    if not isinstance(node, dict) or not node:
        return {prefix: node}
    parts = [_flat(value, f"{prefix}.{key}" if prefix else str(key)) for key, value in node.items()]
    return {key: value for part in parts for key, value in part.items()}


LATER = (
    *("later_phases", "reference"),
    *("model.inserted_layer", "model.freeze_statistics", "model.new_rows"),
)
"""Settings that do not act in the first task."""


ONE_VALUE_A_TASK = ("epochs", "optimizer.lr", "optimizer.weight_decay")


def acting_settings(config: Config, shared: bool) -> dict[str, Any]:
    """The settings on which training on the first task depends, flat. shared: whether the strategy
    trains on it as all do."""
    later = {*LATER, "strategy"} if shared else {*LATER}
    if not config.get("reset_optimizer", True):
        later.remove("model.inserted_layer")  # the optimizer's state has a place for its weights
    return {
        key: at_task(value, 0) if key in ONE_VALUE_A_TASK else value
        for key, value in fixed(config).items()
        if not any(key == k or key.startswith(f"{k}.") for k in later)
    }
