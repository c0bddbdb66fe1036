"""Which run to continue, and whether it was told to do the same."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cl_runner.config.command_line import text_of, typed
from cl_runner.errors import CheckpointError, ConfigError, FolderInUse
from cl_runner.run_folder import read
from cl_runner.run_folder.plain import Damaged
from cl_runner.text import one_line

Config = dict[str, Any]
MAY_CHANGE = (
    "tracker", "checkpoint", "first_task_cache", "dataset.root", "output_root", "name", "resume",
    "trusted_targets", "plan",
)  # fmt: skip
"""Settings that change no result; all others of a continued run must be as they were. Of the
device only the number may change (`cuda:0`, `cuda:1`), not the kind."""
GROUPS = ("dataset", "model", "strategy", "optimizer", "tracker")
"""The parts that compose a run, each a folder of options; and `experiment`, which chooses them."""
OF_ONE_CALL = ("resume", "name", "output_root", "trusted_targets", "sweep", "plan")
"""Overrides that are of one call: whoever continues the run says them again."""
PLACES = ("first_task_cache", "reference")
"""Settings that name a folder, beside each `root` of data."""


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
        with suppress(Damaged):  # of what is damaged nothing is known
            status = read.status(file.parent)
            if status.get("settings") == digest:
                complete = status["status"] == "complete"
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
    before = {} if read.config(folder) is None else read.status(folder)
    run_id = before.get("run_id") or secrets.token_hex(4)
    return Attempt(run_id, before.get("attempt", 0) + 1, settings_digest(config))


def finished(folder: Path, config: Config, wanted: str | None) -> dict[str, Any] | None:
    """The results of the complete run in this folder; None if it is to be started or continued.

    wanted: the setting `resume`. Raises FolderInUse if the folder holds a run that is not to be
    continued, ConfigError if that run has other settings, Damaged if its files contradict each
    other or cannot be read.
    """
    old = read.config(folder)
    if old is None:
        return None
    if wanted is None:
        there = f"run folder error: {folder} already holds a run"
        raise FolderInUse(
            f"{there}; {typed('resume', folder)} continues it, another name= starts anew"
        )
    status = read.status(folder)
    if status.get("settings", "") not in ("", settings_digest(old)):
        raise Damaged(folder / "config.yaml", "status.json has the digest of other settings")
    refuse_changes(folder, old, config)
    return read.results(folder) if status.get("status") == "complete" else None


def with_its_own_settings(arguments: Sequence[str]) -> list[str]:
    """The command line with, for `resume=FOLDER`, that run's own settings before the given ones.

    Raises CheckpointError if the folder holds no run.
    """
    given = {key_of(argument): argument for argument in arguments}
    folder = text_of(given.get("resume", ""))
    if folder in ("", "auto", "null"):
        return list(arguments)
    own = read.overrides(Path(folder))
    if own is None:
        raise CheckpointError(f"checkpoint error: {folder} holds no run to continue")
    theirs = [o for o in own if key_of(o) not in given and not _is_of_one_call(key_of(o))]
    mine = [override for override in theirs if _stays_inside(override)]
    for override in theirs:
        if override not in mine:
            told = "is not taken from a run folder; type it again if it is wanted"
            print(one_line(f"resume: {override} {told}"), file=sys.stderr)
    return [*mine, *arguments]


def _is_of_one_call(key: str) -> bool:
    return key.partition(".")[0] in (*OF_ONE_CALL, "hydra") or key.startswith("hydra/")


def _stays_inside(override: str) -> bool:
    """Whether it names nothing outside of the run's folder, which may come from someone else: no
    place to read or write, nothing of the environment, and no option but those of `conf/`."""
    key, value = key_of(override), override.partition("=")[2]
    group = key in (*GROUPS, "experiment")
    return (
        re.fullmatch(r"[+~]{0,2}\w+(\.\w+)*(=.*)?", override, re.DOTALL) is not None
        and not (key in PLACES or key.endswith(".root"))
        and not any(sign in value for sign in ("${", "/", "\\"))
        and (not group or re.fullmatch(r"\w*", value) is not None)
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
