"""Words of a command line as Hydra reads them: put in order, quoted, and read back.

A value is read twice: by the grammar of overrides, which takes off the quotes, and by OmegaConf,
which puts values in the place of `${...}`. Names of folders may hold anything.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from hydra._internal.utils import get_args_parser
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cl_runner.config.overrides import parsed
from cl_runner.errors import ConfigError

RESUME = "resume=FOLDER continues a run"
_COMPLETION = re.compile("(install|uninstall|query)=(bash|zsh|fish)")
_PLAIN = re.compile(r"[\w./:@+-]+", re.ASCII)


def in_order(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Flags with their values, and overrides. Hydra takes overrides in one row only, so that
    `epochs=2 --config-dir X seed=1` is no command for it. Ends the process with Hydra's usage for
    a flag that is none, and raises ConfigError for what Hydra would fail on."""
    found = get_args_parser().parse_intermixed_args(list(arguments))
    overrides: list[str] = found.overrides
    tasks = ("run", "multirun", "cfg", "info", "shell_completion")
    wanted = [f"--{task.replace('_', '-')}" for task in tasks if getattr(found, task)]
    if len(wanted) > 1:
        raise ConfigError.of(
            "command line", " ".join(wanted), "only one of these can be used at a time"
        )
    if found.experimental_rerun is not None:
        allowed = "is not supported: Hydra would execute what it reads there"
        raise ConfigError.of("--experimental-rerun", found.experimental_rerun, allowed, RESUME)
    asked = [word for word in overrides if _COMPLETION.fullmatch(word)]
    if found.shell_completion and len(asked) != 1:
        allowed = (
            "takes install=SHELL, uninstall=SHELL or query=SHELL, where SHELL is bash, zsh or fish"
        )
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
    """The text as a node of OmegaConf's that means just this text."""
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
    """What to type in a shell for this setting."""
    bare = _PLAIN.fullmatch(str(value))
    return shlex.quote(f"{key}={value if bare else quoted(value)}")


def text_of(override: str) -> str:
    """The value of an override as text, quotes taken off. Empty if it is no override of one
    value, which Hydra will say better."""
    try:
        (found,) = parsed([override])
        if found.is_sweep_override() or found.is_delete():
            return ""
        value = found.value()
        text = value if isinstance(value, str) else found.get_value_string()
        return str(OmegaConf.create({"value": text}).value)
    except (ConfigError, OmegaConfBaseException):
        return ""
