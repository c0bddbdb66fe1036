"""Runs whose own code, a strategy of the user's, say, has changed since they were begun."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

from cl_runner.config import own_code
from cl_runner.config.traits import Config
from cl_runner.run_folder import read
from cl_runner.run_folder.plain import Damaged

SINGLE = (
    "the code of {} has changed since this run; it is kept as it is. Hint: remove its folder, or "
    "choose another name= without resume=, to run it again."
)
SEVERAL = (
    "the code of {} has changed since {} of these runs; they are kept as they are. Hint: remove "
    "their folders, or choose another {}, to run them again."
)
GOES_ON = (
    "the code of {} has changed since this run was begun; it goes on with the new code. Hint: "
    "remove its folder, or choose another name= without resume=, to run all of it with that."
)


def of_run(folder: Path, config: Config, said: str = SINGLE) -> str:
    """A line about a run with these settings; empty if its code is the same or not recorded."""
    names = _changed(folder, config, own_code.digest)
    return said.format(" and ".join(names)) if names else ""


def of_runs(runs: Iterable[tuple[Path, Config]], name: str) -> str:
    """The same about several that are kept. name: what gives their folder another name."""
    today = cache(own_code.digest)
    changed = [names for run in runs if (names := _changed(*run, today))]
    every = " and ".join(sorted({name for names in changed for name in names}))
    return SEVERAL.format(every, len(changed), name) if changed else ""


def _changed(folder: Path, config: Config, today: Callable[[str], str]) -> list[str]:
    """The packages whose digest was another when the run was begun."""
    with suppress(Damaged):  # whoever needs the run says so
        recorded = read.status(folder).code
        known = sorted(own_code.names_of(config) & recorded.keys())
        return [name for name in known if recorded[name] != today(name)]
    return []
