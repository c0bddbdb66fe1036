"""Ctrl-C and SIGTERM to a command whose jobs are on a launcher: they save before it leaves them.

A launcher that is interrupted ends its workers at once, whatever they are doing.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from cl_runner.errors import Interrupted, StorageError
from cl_runner.jobs.job import Job
from cl_runner.jobs.looking import POLL
from cl_runner.jobs.stopping import ask_to_stop, withdraw


@contextmanager
def saving_first(request: Path | None, jobs: Sequence[Job]) -> Iterator[None]:
    """Inside, the first SIGINT or SIGTERM asks the jobs to save and end, waits for those that run,
    and then raises KeyboardInterrupt; a second one raises it at once. Outside, it is Interrupted
    after SIGTERM.

    request: what `Stoppable` looks for; None: the jobs go on without the command.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    of_others = {job.folder for job in jobs if job.state == "running"}  # another command's
    mine = [job for job in jobs if job.folder not in of_others]
    received: list[signal.Signals] = []

    def save_and_stop(number: int, frame: object) -> None:
        received.append(signal.Signals(number))
        if len(received) == 1 and request is not None:
            with suppress(StorageError):  # nobody can be asked then
                ask_to_stop(request)
                _wait(received[0].name, mine)
        raise KeyboardInterrupt  # Ray would take another exception for a fault of its own

    before = {n: signal.signal(n, save_and_stop) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        if received[:1] == [signal.SIGTERM]:
            raise Interrupted(signal.SIGTERM) from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if request is not None:
            withdraw(request)


def _wait(name: str, jobs: Sequence[Job]) -> None:
    """Until none of them runs."""
    told = False
    while any(job.state == "running" for job in jobs):
        if not told:
            text = f"\n{name}: the jobs save at the end of their step; repeat it to stop at once\n"
            with suppress(OSError):  # perhaps nobody reads any more
                os.write(2, text.encode())
            told = True
        time.sleep(POLL)
