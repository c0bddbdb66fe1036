"""Which run to continue, and whether its settings allow it."""

from __future__ import annotations

import re
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cl_runner.config.command_line import text_of, typed
from cl_runner.config.identity import refuse_changes, settings_digest
from cl_runner.config.overrides import key_of
from cl_runner.config.paths import GROUPS
from cl_runner.config.traits import Config, is_place, of_one_call, traits
from cl_runner.config.unrecorded import completed
from cl_runner.errors import CheckpointError, FolderInUse
from cl_runner.run_folder import read
from cl_runner.run_folder.outcome import Results
from cl_runner.run_folder.plain import Damaged
from cl_runner.run_folder.schemas import Status
from cl_runner.text import one_line


def find(output_root: Path, config: Config) -> Path | None:
    """The run below `output_root` with these settings: a complete one, else the newest. One that
    was recorded before some of them existed had their defaults."""
    digest = settings_digest(config)
    equal = [folder for folder, status in _recorded(output_root) if status.settings == digest]
    if not equal:
        earlier = recorded_earlier(output_root, config["device"])
        equal = [folder for other, folder in earlier if other == digest]
    return max(equal, key=_progress, default=None)


def recorded_earlier(place: Path, device: str) -> Iterator[tuple[str, Path]]:
    """The runs in this folder whose configuration lacks settings of today, each with the digest
    that it would have with them. device: as asked for; with `auto` it counts whatever was chosen.
    """
    chosen = {"device": device} if device == "auto" else {}
    for folder, _ in _recorded(place):
        with suppress(Damaged):
            config = read.config(folder)
            if config is not None and (whole := completed(config)) != config:
                yield settings_digest(whole | chosen), folder


def _recorded(place: Path) -> Iterator[tuple[Path, Status]]:
    """The runs in this folder, by name."""
    for file in sorted(place.glob("*/status.json")):
        with suppress(Damaged):  # nobody knows the settings of a damaged run
            yield file.parent, read.status(file.parent)


def _progress(folder: Path) -> tuple[bool, float, Path]:
    complete = read.state_of(folder) == read.DONE
    return complete, (folder / "status.json").stat().st_mtime, folder


@dataclass(frozen=True)
class Attempt:
    """One process that works on a run: the first one starts it, later ones continue it."""

    run_id: str  # the same in all attempts
    number: int
    settings: str  # their digest
    code: Mapping[str, str] = field(default_factory=dict)  # of the user's own packages


def next_attempt(folder: Path, config: Config) -> Attempt:
    """The attempt that begins now in this folder. Its settings are those that the run recorded:
    `config` may have some that came later."""
    recorded = read.config(folder)
    before = read.NEVER_BEGUN if recorded is None else read.status(folder)
    run_id = before.run_id or secrets.token_hex(4)
    digest = settings_digest(recorded or config)
    return Attempt(run_id, before.attempt + 1, digest, before.code)


def finished(folder: Path, config: Config, wanted: str | None) -> Results | None:
    """The results of the run in this folder if it is complete; None if there is work to do.

    wanted: the setting `resume`. Raises FolderInUse if the folder contains a run and `wanted` is
    None, ConfigError if that run has other settings, and Damaged if its files contradict each other
    or cannot be read.
    """
    old = read.config(folder)
    if old is None:
        return None
    if wanted is None:
        raise FolderInUse(
            f"run folder error: {folder} already contains a run; {typed('resume', folder)} "
            "continues it, another name= starts a new one"
        )
    status = read.status(folder)
    if status.settings not in ("", settings_digest(old)):
        raise Damaged(folder / "config.yaml", "its digest is not the one in status.json")
    refuse_changes(folder, old, config)
    return read.results(folder) if status.status == "complete" else None


def with_its_own_settings(arguments: Sequence[str]) -> list[str]:
    """The command line; with `resume=FOLDER`, the settings of that run come before the given ones.

    Raises CheckpointError if the folder contains no run.
    """
    given = {key_of(argument): argument for argument in arguments}
    folder = text_of(given.get("resume", ""))
    if folder in ("", "auto", "null"):
        return list(arguments)
    before = read.overrides(Path(folder))
    if before is None:
        raise CheckpointError(f"checkpoint error: {folder} contains no run to resume")
    missing = [o for o in before if key_of(o) not in given and not of_one_call(o)]
    kept = [override for override in missing if stays_inside(override)]
    for override in missing:
        if override not in kept:
            is_needed = traits(key_of(override).partition(".")[0]).changes_results
            why = ", the run needs it" if is_needed else " if you want it"
            text = f"{override} is not taken over from a run folder; give it again{why}"
            print(one_line(f"resume: {text}"), file=sys.stderr)
    return [*kept, *arguments]


def stays_inside(override: str) -> bool:
    """Whether it refers to nothing outside the run's folder. It may come from someone else: no
    place to read or write, no environment variable, no option that is not in `conf/`."""
    key, value = key_of(override), override.partition("=")[2]
    group = key in (*GROUPS, "experiment")
    return (
        re.fullmatch(r"[+~]{0,2}\w+(\.\w+)*(=.*)?", override, re.DOTALL) is not None
        and not is_place(key)
        and not any(sign in value for sign in ("${", "/", "\\"))
        and (not group or re.fullmatch(r"\w*", value) is not None)
    )
