"""Forked processes: run a command, wait for its end or for what it does."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module, invalidate_caches
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType

import torch
from running import composed

from cl_runner import train
from cl_runner.config.traits import is_place
from cl_runner.jobs import launch
from cl_runner.jobs.child import PRELOADED


def fork() -> int:
    """`os.fork` without the warning about threads that newer Pythons give."""
    _made_ready()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


@cache
def _made_ready() -> None:
    """What every command imports and reads late: once, for all processes forked from here."""
    import_module(PRELOADED)
    composed()
    is_place("")  # every option that we ship, and its class


def run_and_exit(
    folder: Path,
    command: list[str],
    main: Callable[[], object] = train.main,
    printed: Path | None = None,
) -> None:
    """In a forked process: run the command in this folder and exit with its code, 1 if it raises.
    printed: the folder for its output, the files `stdout` and `stderr`; `folder` by default."""
    code = 1
    torch.seed()  # as in a process of its own; forked ones would share what is drawn without a seed
    try:
        os.chdir(folder)
        for number, name in ((1, "stdout"), (2, "stderr")):
            stream = open((printed or folder) / name, "w")  # noqa: SIM115
            os.dup2(stream.fileno(), number)
            setattr(sys, name, stream)
        sys.argv = command
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())  # as Python would
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


class Forked:
    """A child of `cl-search` or `cl-reproduce`, forked from here, where torch is imported."""

    def __init__(self, words: Sequence[str], printed: Path) -> None:
        self.number = fork()
        if self.number == 0:
            run_and_exit(Path(), ["cl-train", *words], printed=printed)

    def wait(self, seconds: float | None = None) -> int:
        return exit_code(self.number)


def imported_again(place: Path, optimize: int = 0) -> None:
    """In a forked process: import the package anew, from this place if it is there. It saves the
    seconds that a new process would need to import torch. optimize: 1 leaves out asserts."""
    read = SourceFileLoader.get_code

    def code(loader: SourceFileLoader, name: str) -> CodeType | None:
        path = loader.get_filename(name)
        if "site-packages" in path:
            return read(loader, name)
        return compile(loader.get_data(path), path, "exec", dont_inherit=True, optimize=optimize)

    SourceFileLoader.get_code = code  # type: ignore[method-assign]
    sys.path.insert(0, str(place))
    for name in list(sys.modules):
        if name.partition(".")[0] in ("cl_runner", "faulty"):
            del sys.modules[name]
    invalidate_caches()


def code_of(folder: Path, command: list[str], main: Callable[[], object]) -> int:
    """Run a command in this folder, in a forked process, with its output in files there. With
    `--jobs` it forks its children, too; what starts them else is tested with each command."""
    child = fork()
    if child == 0:
        os.environ["OMP_NUM_THREADS"] = "1"
        launch.Child = Forked  # type: ignore[misc, assignment]
        run_and_exit(folder, command, main)
    return exit_code(child)


def exit_code(child: int) -> int:
    """Wait for a forked process. Its exit code, negative if a signal ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def until(condition: Callable[[], object], child: int, seconds: float = 120.0) -> None:
    """Wait until a child process has done something. Fail if it ends before, or takes too long."""
    end = time.monotonic() + seconds
    over = None
    while not condition():
        assert over is None, f"the child is over: {over}"
        assert time.monotonic() < end, f"not within {seconds:g} seconds"
        over = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        time.sleep(0.0 if over else 0.01)
