"""`cl-train` and `cl-search` as calls: they return what was measured and where, and raise what went
wrong."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra._internal.hydra import Hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from cl_runner import train
from cl_runner.config import command_line, hydra_loader, masking, search_path
from cl_runner.config.compose import from_hydra
from cl_runner.errors import Interrupted
from cl_runner.run_folder import resume
from cl_runner.run_folder.outcome import Results
from cl_runner.searches import command
from cl_runner.searches.arguments import Arguments
from cl_runner.searches.found import Found

CONFIG = "config"


def one(words: Sequence[str], config_dir: Path | None) -> tuple[Results, Path]:
    """`cl-train WORDS`: what the run measured, and its folder. Prints no summary."""
    ended: list[tuple[Results, Path] | Exception] = []

    def task(config: DictConfig) -> None:
        try:
            ended.append(train.one_run(config))
        except Exception as error:  # Hydra would print a line of its own
            ended.append(error)

    with _composing(words, config_dir) as (hydra, given), _ctrl_c_as_in_python():
        hydra.run(CONFIG, task, given, with_log_configuration=False)
        (outcome,) = ended
        if isinstance(outcome, Exception):
            raise outcome
    return outcome


def many(words: Sequence[str], config_dir: Path | None) -> Path:
    """`cl-train -m WORDS`: the folder of the sweep. Prints what the command prints."""
    with _composing(words, config_dir) as (hydra, given):
        folder: Path = hydra.multirun(CONFIG, train.one_job, given)
    return folder


def search(arguments: Arguments) -> Found:
    """`cl-search`. Prints what the command prints."""
    with command_line.called_with([*search_path.words(arguments.config_dir), *arguments.overrides]):
        return command.search(arguments)


@contextmanager
def _composing(words: Sequence[str], config_dir: Path | None) -> Iterator[tuple[Hydra, list[str]]]:
    """Hydra, and the words with those of a run that is to be continued. Inside, an error of
    Hydra's becomes a ConfigError, and none shows a secret that was given."""
    with command_line.called_with(words):
        place = search_path.checked(config_dir)
    whole = [*search_path.words(place), *words]
    with command_line.called_with(whole), masking.hiding_secrets_of(words):
        try:
            given = resume.with_its_own_settings(words)
            with hydra_loader.installed(), search_path.hydra_with(place) as hydra:
                yield hydra, given
        except (HydraException, OmegaConfBaseException) as error:
            raise from_hydra(error) from None


@contextmanager
def _ctrl_c_as_in_python() -> Iterator[None]:
    """A run that saved because of Ctrl-C ends with KeyboardInterrupt."""
    try:
        yield
    except Interrupted as stop:
        if stop.number != signal.SIGINT:
            raise
        raise KeyboardInterrupt from None
