"""`cl-train` in a child process: begun, waited for, asked what went wrong.

The child is forked from a process that has imported torch and nothing else, which spares seconds.
"""

from __future__ import annotations

import importlib
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

_ENDS = Lock()
"""Whoever begins a process through multiprocessing asks for the end of all others, and the end can
be read once: the later of two threads that read it is given 255."""


class Child:
    """One `cl-train WORDS`. May be used in any thread."""

    def __init__(self, words: Sequence[str], printed: Path) -> None:
        """Begin it; what it prints is in the files `stdout` and `stderr` of `printed`."""
        os.environ["OMP_NUM_THREADS"] = "1"  # children stand side by side, one core each
        server = multiprocessing.get_context("forkserver")
        server.set_forkserver_preload(["cl_runner.training.run"])
        self.process: BaseProcess = server.Process(target=_cl_train, args=(list(words), printed))
        # Ctrl-C reaches the server, too, which would print where in torch's import it was. Starting
        # the tracker unblocks the signal again, so that comes first.
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with _ENDS:
                self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def wait(self, seconds: float | None = None) -> int | None:
        """Its exit code; None if it is still at work after so long (None: as long as it takes)."""
        wait([self.process.sentinel], seconds)
        with _ENDS:
            self.process.join(0)
            return self.process.exitcode

    def interrupt(self) -> None:
        """Let the run save its state and end, as does the death of this process, however it comes:
        no child is left at work that nobody waits for."""
        self.process.terminate()


def complaint(printed: Path) -> str:
    """The line that says why a child failed."""
    file = printed / "stderr"
    lines = (file.read_text("utf-8") if file.exists() else "").strip().splitlines() or ["no word"]
    return next((line for line in lines if " error: " in line), lines[-1])


def _cl_train(words: list[str], printed: Path) -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    for number, name in ((1, "stdout"), (2, "stderr")):
        with (printed / name).open("w") as file:
            os.dup2(file.fileno(), number)
        setattr(sys, name, None)  # made anew for this descriptor by `terminal`
    parent = multiprocessing.parent_process()
    assert parent is not None
    end_with(parent.sentinel)
    sys.argv = ["cl-train", *words]
    importlib.import_module("cl_runner.train").main()  # a command, by its name


def end_with(parent: int) -> None:
    """From now on this process is asked to save and end when its parent ends, which closes this
    descriptor."""

    def follow() -> None:
        wait([parent])
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=follow, daemon=True).start()
