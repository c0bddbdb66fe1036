"""`cl-train` in a child process: start it, wait for it, read why it failed.

The child is forked from a server process that has done what every job needs (`preloaded.py`), which
saves seconds.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Lock, Thread

from cl_runner import train

PRELOADED = "cl_runner.jobs.preloaded"
_EXIT_CODES = Lock()
"""Starting a process makes multiprocessing collect the exit codes of all others. Each can be
collected only once: of two threads that try, the later one gets 255."""


class Child:
    """One `cl-train WORDS`. May be used from any thread."""

    def __init__(self, words: Sequence[str], printed: Path) -> None:
        """Start it. Its output goes to the files `stdout` and `stderr` in `printed`."""
        os.environ["OMP_NUM_THREADS"] = "1"  # children run side by side, one core each
        server = multiprocessing.get_context("forkserver")
        server.set_forkserver_preload([PRELOADED])
        self.process: BaseProcess = server.Process(target=_cl_train, args=(list(words), printed))
        # Ctrl-C also reaches the server, which would print a traceback from importing torch.
        # Starting the tracker unblocks the signal again, so start it first.
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with _EXIT_CODES:
                self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def wait(self, seconds: float | None = None) -> int | None:
        """The exit code; None if it is still running after that time. Without a time, wait for
        the end."""
        wait([self.process.sentinel], seconds)
        with _EXIT_CODES:
            self.process.join(0)
            return self.process.exitcode

    def interrupt(self) -> None:
        """Ask the run to save its state and end. The same happens if this process dies in any
        way: no child keeps running that nobody waits for."""
        self.process.terminate()


def complaint(printed: Path) -> str:
    """The line that says why a child failed."""
    file = printed / "stderr"
    lines = file.read_text("utf-8").strip().splitlines() if file.exists() else []
    return next((line for line in lines if " error: " in line), (lines or ["no message"])[-1])


def _cl_train(words: list[str], printed: Path) -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    for number, name in ((1, "stdout"), (2, "stderr")):
        with (printed / name).open("w") as file:
            os.dup2(file.fileno(), number)
        setattr(sys, name, None)  # `terminal` opens it again for this descriptor
    parent = multiprocessing.parent_process()
    assert parent is not None
    end_with(parent.sentinel)
    sys.argv = ["cl-train", *words]
    train.main()


def end_with(parent: int) -> None:
    """From now on, ask this process to save and end when its parent ends. parent: a descriptor
    that becomes readable then."""

    def follow() -> None:
        wait([parent])
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=follow, daemon=True).start()
