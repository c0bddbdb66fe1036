"""Hydra's composition outside of `cl-train`: from our `conf/` and a folder of the user's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra import version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra

from cl_runner.config import command_line
from cl_runner.config.paths import CONF
from cl_runner.errors import ConfigError

FLAG, HELP = "--config-dir", "a folder with options of your own"


@contextmanager
def hydra_with(config_dir: Path | None) -> Iterator[Hydra]:
    """Hydra, which `hydra.compose` then uses, with this folder searched after ours, as with
    `cl-train --config-dir`."""
    path = create_config_search_path(str(CONF))
    if config_dir is not None:
        last = SearchPathQuery(provider="schema")
        path.prepend(provider="command-line", path=f"file://{config_dir}", anchor=last)
    there = GlobalHydra.instance()
    before, there.hydra = there.hydra, None
    version.setbase("1.3")
    try:
        yield Hydra.create_main_hydra2("cl-runner", path)
    finally:
        there.hydra = before


def checked(config_dir: Path | None) -> Path | None:
    """The folder as an absolute path. Raises ConfigError if there is none."""
    if config_dir is None:
        return None
    if not config_dir.is_dir():
        raise ConfigError.of(command_line.flag("config-dir"), config_dir, "is not a folder")
    return config_dir.absolute()


def typed() -> Path | None:
    """The folder on the command line, whichever command it is."""
    given = _given()
    return None if given is None or not given.is_dir() else given.absolute()


def check_typed() -> None:
    """Raise ConfigError if the folder on the command line is none."""
    checked(_given())


def _given() -> Path | None:
    known, _ = get_args_parser().parse_known_args(command_line.of_this_command())
    return None if known.config_dir is None else Path(known.config_dir)


def words(config_dir: Path | None) -> Sequence[str]:
    """The flag for the command line of a child."""
    return [] if config_dir is None else [FLAG, str(config_dir)]
