"""The words of a command line as Hydra reads them: sorted, quoted, and read back.

A value is read twice: the grammar of overrides removes the quotes, then OmegaConf replaces
`${...}`. The name of a folder may contain any character.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from hydra._internal.utils import get_args_parser
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cl_runner.config.overrides import parsed
from cl_runner.errors import ConfigError

ASKS_FOR_HELP = {"--help", "-h"}
ABOUT_PLUGINS = {"--plugins", "--trust", "--distrust"}
_COMPLETION = re.compile("(install|uninstall|query)=(bash|zsh|fish)")
_PLAIN = re.compile(r"[\w./:@+-]+", re.ASCII)
_CALLED: ContextVar[Sequence[str] | None] = ContextVar("called", default=None)


def of_this_command() -> list[str]:
    """The words of the command that runs: those of this process, or those of a call from Python."""
    called = _CALLED.get()
    return sys.argv[1:] if called is None else list(called)


def from_python() -> bool:
    """Whether the command that runs is a call from Python."""
    return _CALLED.get() is not None


def flag(name: str) -> str:
    """What the user gives as `--name`, or from Python as the argument `name`."""
    return name.replace("-", "_") if from_python() else f"--{name}"


def check_count(key: str, number: object) -> None:
    """Raise ConfigError unless this is an integer of at least 1. key: what the user gave it as."""
    if type(number) is not int or number < 1:
        raise ConfigError.of(key, number, "must be an integer ≥ 1")


@contextmanager
def called_with(words: Sequence[str]) -> Iterator[None]:
    """Inside, the command that runs has these words, whatever those of this process are."""
    before = _CALLED.set(words)
    try:
        yield
    finally:
        _CALLED.reset(before)


def in_order(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Flags with their values, and overrides. Hydra needs the overrides side by side, and would
    reject `epochs=2 --config-dir X seed=1`.

    An unknown flag ends the process with Hydra's usage message. Raises ConfigError for what Hydra
    would fail on.
    """
    words = get_args_parser().parse_intermixed_args(list(arguments))
    overrides: list[str] = words.overrides
    tasks = ("run", "multirun", "cfg", "info", "shell_completion")
    wanted = [f"--{task.replace('_', '-')}" for task in tasks if getattr(words, task)]
    if len(wanted) > 1:
        allowed = "only one of these can be used at a time"
        raise ConfigError.of("command line", " ".join(wanted), allowed)
    if (rerun := words.experimental_rerun) is not None:
        allowed = "is not supported: Hydra would execute what it reads there"
        hint = "resume=FOLDER continues a run"
        raise ConfigError.of("--experimental-rerun", rerun, allowed, hint)
    asked = [word for word in overrides if _COMPLETION.fullmatch(word)]
    if words.shell_completion and len(asked) != 1:
        allowed = "takes install=, uninstall= or query=, followed by bash, zsh or fish"
        hint = 'eval "$(cl-train -sc install=bash)"'
        raise ConfigError.of("--shell-completion", " ".join(overrides), allowed, hint)
    flags, left = [], list(overrides)
    for argument in reversed(arguments):
        if left and left[-1] == argument:
            left.pop()
        else:
            flags.append(argument)
    return flags[::-1], overrides


def literal(text: str) -> str:
    """The text escaped for OmegaConf, which then reads it without interpolation."""
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", text)


def quoted(value: object) -> str:
    """The value of an override: text and paths in quotes, other values as they are."""
    if value is None:
        return "null"
    if not isinstance(value, str | Path):
        return str(value)
    text = re.sub(r"(\\*)'", r"\1\1\\'", literal(str(value)))
    return "'" + re.sub(r"(\\+)\Z", r"\1\1", text) + "'"


def typed(key: str, value: str | Path) -> str:
    """This setting as the user would type it in a shell."""
    bare = _PLAIN.fullmatch(str(value))
    return shlex.quote(f"{key}={value if bare else quoted(value)}")


def text_of(override: str) -> str:
    """The value of an override as text, without its quotes. Empty if it does not give one value;
    Hydra then has the better message."""
    try:
        (read,) = parsed([override])
        if read.is_sweep_override() or read.is_delete():
            return ""
        value = read.value()
        text = value if isinstance(value, str) else read.get_value_string()
        return str(OmegaConf.create({"value": text}).value)
    except (ConfigError, OmegaConfBaseException):
        return ""
