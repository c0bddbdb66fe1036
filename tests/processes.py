"""Forked processes: commands that can be sent signals, and waiting for what they bring about."""

from __future__ import annotations

import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

from cl_runner.train import main


def fork() -> int:
    """`os.fork` without the warning that newer Pythons give where there are threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def run_and_exit(folder: Path, command: list[str]) -> None:
    """What a forked process does: `cl-train` in this folder, its words in `stdout` and `stderr`."""
    code = 70  # of what raises
    try:
        os.chdir(folder)
        for number, name in ((1, "stdout"), (2, "stderr")):
            stream = open(folder / name, "w")  # noqa: SIM115
            os.dup2(stream.fileno(), number)
            setattr(sys, name, stream)
        sys.argv = command
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def exit_code(child: int) -> int:
    """Wait for a forked process; a signal that ended it counts negatively."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def until(condition: Callable[[], object], child: int, seconds: float = 120.0) -> None:
    """Wait for what a child process of ours is to bring about; fail if it ends before, or never."""
    end = time.monotonic() + seconds
    over = None
    while not condition():
        assert over is None, f"the child is over: {over}"
        assert time.monotonic() < end, f"not within {seconds:g} seconds"
        over = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        time.sleep(0.0 if over else 0.01)
