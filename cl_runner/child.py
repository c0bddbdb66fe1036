"""`cl-train` in a child process: begun, waited for, asked what went wrong.

The child is forked from a process that has imported torch and nothing else, which spares seconds.
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
from threading import Thread

from cl_runner import train


def start(words: Sequence[str], told: Path) -> BaseProcess:
    """Begin `cl-train WORDS`; what it prints is in the files `stdout` and `stderr` of `told`.

    SIGTERM (`terminate()` of what is returned) lets the run save its state and end. So does the
    death of this process, however it comes: no child is left at work that nobody waits for.
    """
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["cl_runner.run"])
    process = server.Process(target=_cl_train, args=(list(words), told))
    # Ctrl-C reaches the server, too, which would print where in torch's import it was. Starting
    # the tracker unblocks the signal again, so that comes first.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return process


def cl_train(words: Sequence[str], told: Path) -> int | None:
    """The same to its end: its exit code."""
    process = start(words, told)
    process.join()
    return process.exitcode


def complaint(told: Path) -> str:
    """The line that says why a child failed."""
    file = told / "stderr"
    lines = (file.read_text("utf-8") if file.exists() else "").strip().splitlines() or ["no word"]
    return next((line for line in lines if " error: " in line), lines[-1])


def _cl_train(words: list[str], told: Path) -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    for number, name in ((1, "stdout"), (2, "stderr")):
        with (told / name).open("w") as file:
            os.dup2(file.fileno(), number)
        setattr(sys, name, None)  # made anew for this descriptor by `terminal`
    Thread(target=_end_with_parent, daemon=True).start()
    sys.argv = ["cl-train", *words]
    train.main()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
