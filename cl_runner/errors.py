"""What can go wrong for a user: each error is one line and has its own exit code."""

from __future__ import annotations

import difflib
import signal
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cl_runner.hidden import is_secret, masked, without_secrets, word_for
from cl_runner.text import harmless

FEW = 30
"""How many names can be listed in one line."""
ALSO_KNOWN_AS = {
    "er": "rehearsal",
    "experience_replay": "rehearsal",
    "replay": "rehearsal",
    "naive": "finetune",
    "sgd": "finetune",
}
"""Names of strategies elsewhere, with ours."""
MISSING = object()
"""In place of the value of a setting that has none."""


class RunError(Exception):
    """An error that is shown in one line, without a traceback. It may quote text from elsewhere."""

    exit_code = 1

    def __str__(self) -> str:
        return harmless(super().__str__())

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of a traceback, in a notebook or its own shell."""
        return [str(self)]


@dataclass(frozen=True)
class Problem:
    """A setting that cannot be used: its key, its value, what is allowed, and the remedy."""

    key: str
    value: Any
    allowed: str
    hint: str = ""

    def masked(self, masks: dict[str, str]) -> Problem:
        """The same without these secrets."""
        key, allowed, hint = (masked(text, masks) for text in (self.key, self.allowed, self.hint))
        shown = masked(str(self.value), masks)
        return Problem(key, self.value if shown == str(self.value) else shown, allowed, hint)

    def __str__(self) -> str:
        hint = f" Hint: {self.hint}" if self.hint else ""
        if self.value is MISSING:
            return f"config error: {self.key} {self.allowed}.{hint}"
        return f"config error: {self.key}={_shown(self.key, self.value)}: {self.allowed}.{hint}"


class ConfigError(RunError, ValueError):
    """Settings that cannot be used (exit code 2), with every problem. It is a ValueError, so that
    pydantic collects it."""

    exit_code = 2

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))

    @classmethod
    def of(cls, key: str, value: Any, allowed: str, hint: str = "") -> ConfigError:
        return cls(Problem(key, value, allowed, hint))

    def under(self, prefix: str) -> ConfigError:
        """The same problems with `prefix` before their keys, as the user types them."""
        return ConfigError(*(replace(p, key=f"{prefix}.{p.key}") for p in self.problems))


class Diverged(RunError):
    """A loss or an output that is not finite (exit code 3)."""

    exit_code = 3


class DataError(RunError):
    """A data set that is missing, damaged or inconsistent (exit code 4)."""

    exit_code = 4


class StorageError(RunError):
    """A file that cannot be written (exit code 5)."""

    exit_code = 5

    @classmethod
    def of(cls, path: Path, error: OSError) -> StorageError:
        return cls(f"storage error: {path}: {error.strerror}")


class FolderInUse(RunError):
    """A run folder that already holds a run, or where one is under way (exit code 6)."""

    exit_code = 6


class CheckpointError(RunError):
    """A run that cannot be continued: it has no checkpoint that can be used (exit code 7)."""

    exit_code = 7


def first_line(error: BaseException) -> str:
    """The first line of a library's message, at most 200 characters long."""
    if isinstance(error, SystemExit):
        return f"it ends the program: exit code {error.code}"
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def why_not_imported(error: BaseException) -> str:
    """The first line, and for an error in the module's own code also where it is."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    says_where = isinstance(error, RunError | ImportError | SyntaxError | AttributeError)
    if says_where or frame.filename.startswith("<"):
        return first_line(error)
    return f"{first_line(error)}; {Path(frame.filename).name}, line {frame.lineno}"


def _shown(key: str, value: Any) -> str:
    """The value as typed, on one line and without secrets; cut if it is long and not a path."""
    value = without_secrets(key, value)
    if isinstance(value, str) and "{" in value and is_secret(value):  # {token: …}, as typed
        value = word_for(value)
    text = "null" if value is None else str(value).replace("\n", " ")
    return text if len(text) <= 80 or isinstance(value, Path) else text[:77] + "..."


def nearest(name: str, names: Sequence[str]) -> str:
    """A hint for a mistyped key: ours for a name that others use, else the nearest known one; if
    none is near, its siblings, if they are few; else nothing."""
    if (ours := ALSO_KNOWN_AS.get(name)) in names:
        return f"did you mean {ours}?"
    group, _, last = name.rpartition(".")
    below = {known.rpartition(".")[2]: known for known in names if known.startswith(group)}
    close = difflib.get_close_matches(last, below, n=1, cutoff=0.6)
    if close:
        return f"did you mean {below[close[0]]}?"
    siblings = sorted(known for known in names if known.rpartition(".")[0] == group)
    return f"known are {', '.join(siblings)}" if 0 < len(siblings) <= FEW else ""


EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR1: 143, signal.SIGUSR2: 143}
"""Slurm can send SIGUSR1 before it ends a job (`sbatch --signal=USR1@120`); submitit makes it send
SIGUSR2, and its own handler, which queues the job again, comes after ours."""


class Interrupted(SystemExit):
    """The run was asked to stop and has saved its state. Also ends a sweep."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(EXIT_CODES[number])
        self.number = number

    def __reduce__(self) -> tuple[type[Interrupted], tuple[signal.Signals]]:
        return Interrupted, (self.number,)  # a worker of a sweep pickles it
