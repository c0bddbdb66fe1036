"""Which run to continue, and whether it was told to do the same."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cl_runner.errors import CheckpointError, ConfigError, FolderInUse

Config = dict[str, Any]
_SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a report reads hundreds of files
MAY_CHANGE = (
    "tracker", "checkpoint", "first_task_cache", "dataset.root", "output_root", "name", "resume",
    "trusted_targets", "plan",
)  # fmt: skip
"""Settings that change no result; all others of a continued run must be as they were. Of the
device only the number may change (`cuda:0`, `cuda:1`), not the kind."""
GROUPS = ("dataset", "model", "strategy", "optimizer", "tracker")
"""The parts that compose a run, each a folder of options; and `experiment`, which chooses them."""
OF_ONE_CALL = ("resume", "name", "output_root", "trusted_targets", "sweep", "plan")
"""Overrides that are not taken from a run folder: whoever continues it says them again."""


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


def find(output_root: Path, config: Config) -> Path | None:
    """The run below `output_root` with these settings: a complete one, else the newest."""
    digest, found = settings_digest(config), []
    for file in output_root.glob("*/status.json"):
        status = read_status(file.parent)
        if status.get("settings") == digest:
            complete = status.get("status") == "complete"
            found.append((complete, file.stat().st_mtime, file.parent))
    return max(found)[2] if found else None


@dataclass(frozen=True)
class Attempt:
    """One process that works on a run: the first starts it, later ones continue it."""

    run_id: str  # the same through all attempts
    number: int
    settings: str  # their digest


def next_attempt(folder: Path, config: Config) -> Attempt:
    """The attempt that is about to begin in this folder."""
    before = {} if read_config(folder) is None else read_status(folder)
    run_id = before.get("run_id") or secrets.token_hex(4)
    return Attempt(run_id, before.get("attempt", 0) + 1, settings_digest(config))


def finished(folder: Path, config: Config, wanted: str | None) -> dict[str, Any] | None:
    """The results of the complete run in this folder; None if it is to be started or continued.

    wanted: the setting `resume`. Raises FolderInUse if the folder holds a run that is not to be
    continued, ConfigError if that run has other settings.
    """
    old = read_config(folder)
    if old is None:
        return None
    if wanted is None:
        there = f"run folder error: {folder} already holds a run"
        raise FolderInUse(f"{there}; resume={folder} continues it, another name= starts anew")
    refuse_changes(folder, old, config)
    if read_status(folder).get("status") != "complete":
        return None
    try:
        results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    except (OSError, ValueError):
        damaged = f"{folder} is complete, but its results.json is missing or damaged"
        raise CheckpointError(f"checkpoint error: {damaged}") from None
    return results


def read_status(folder: Path) -> dict[str, Any]:
    """What status.json says; empty if there is none."""
    try:
        status = json.loads((folder / "status.json").read_text())
    except (OSError, ValueError):
        return {}
    return status if isinstance(status, dict) else {}


def read_config(folder: Path) -> Config | None:
    """The settings that the run in this folder was started with; None if there is no run."""
    try:
        config = yaml.load((folder / "config.yaml").read_text(), Loader=_SafeLoader)
    except OSError:
        return None
    except (ValueError, yaml.YAMLError):
        config = None
    if not isinstance(config, dict):
        raise CheckpointError(f"checkpoint error: {folder / 'config.yaml'} is damaged")
    return config


def read_metrics(file: Path, size: int | None = None) -> list[dict[str, Any]]:
    """The events in the first `size` bytes (None: all) of a metrics.jsonl. A torn last line,
    which a kill leaves, is dropped.

    Raises CheckpointError, with the line's number, if another line cannot be read.
    """
    if size == 0:
        return []
    try:
        *lines, _torn = file.read_bytes()[:size].split(b"\n")
    except OSError as error:
        raise CheckpointError(f"checkpoint error: {file}: {error.strerror}") from None
    events = []
    for number, line in enumerate(lines, start=1):
        try:
            events.append(json.loads(line))
        except ValueError:
            raise CheckpointError(f"checkpoint error: {file}, line {number} is damaged") from None
    return events


def with_its_own_settings(arguments: Sequence[str]) -> list[str]:
    """The command line with, for `resume=FOLDER`, that run's own settings before the given ones.

    Raises CheckpointError if the folder holds no run.
    """
    given = {key_of(argument): argument for argument in arguments}
    folder = given.get("resume", "").partition("=")[2].strip("'\"")
    if folder in ("", "auto", "null"):
        return list(arguments)
    try:
        own = yaml.safe_load((Path(folder) / "overrides.yaml").read_text())
        mine = [o for o in map(str, list(own)) if _is_harmless(o) and key_of(o) not in given]
    except (OSError, ValueError, TypeError, yaml.YAMLError):
        raise CheckpointError(f"checkpoint error: {folder} holds no run to continue") from None
    return [*mine, *arguments]


def _is_harmless(override: str) -> bool:
    """A folder may come from someone else: it says settings of the run and nothing more. Not what
    code to trust, no setting of Hydra's own, no option that is a path to a file of theirs, and
    nothing from the environment for W&B."""
    key, value = key_of(override), override.partition("=")[2]
    group = key in (*GROUPS, "experiment")
    return (
        re.fullmatch(r"[+~]{0,2}\w+(\.\w+)*(=.*)?", override, re.DOTALL) is not None
        and not key.startswith((*OF_ONE_CALL, "hydra"))
        and (not group or re.fullmatch(r"\w*", value) is not None)
        and not (key.startswith("tracker") and "$" in value)
    )


def key_of(override: str) -> str:
    """The setting that an override of the command line is about."""
    return override.lstrip("+~").partition("=")[0]


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
