"""Forked processes: run a command, wait for its end or for what it does."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from cl_runner import train


def fork() -> int:
    """`os.fork` without the warning about threads that newer Pythons give."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def run_and_exit(
    folder: Path,
    command: list[str],
    main: Callable[[], object] = train.main,
    printed: Path | None = None,
) -> None:
    """In a forked process: run the command in this folder and exit with its code, 1 if it raises.
    printed: the folder for its output, the files `stdout` and `stderr`; `folder` by default."""
    code = 1
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


def code_of(folder: Path, command: list[str], main: Callable[[], object]) -> int:
    """Run a command in this folder, in a process of its own, with its output in files there.

    It is forked, which saves the import of torch, unless it starts children by `--jobs`: those are
    multiprocessing's, which does not survive a fork of a process that has used it."""
    if "--jobs" not in command:
        child = fork()
        if child == 0:
            os.environ["OMP_NUM_THREADS"] = "1"
            run_and_exit(folder, command, main)
        return exit_code(child)
    program = [sys.executable, "-m", main.__module__, *command[1:]]
    with (folder / "stdout").open("w") as out, (folder / "stderr").open("w") as err:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.call(program, cwd=folder, stdout=out, stderr=err, env=environment)


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
