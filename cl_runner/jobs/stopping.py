"""Ask a job on any machine to save and end, by a file that its process looks for; and let a job end
with the command that started its process.

A launcher's worker may be on another machine, where no signal of ours arrives, and a signal that
comes before the run listens would end a worker that others need.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

from hydra.types import TaskFunction
from omegaconf import DictConfig

from cl_runner.errors import EXIT_CODES, Interrupted
from cl_runner.jobs.looking import POLL
from cl_runner.run_folder.files import make, write
from cl_runner.training.signals import Signals

REQUESTS = ".stop"
"""The folder, next to those of the jobs, with a file for each job that is asked to stop, or for a
command all of whose jobs are."""


def ask_to_stop(folder: Path) -> None:
    """Ask the job in this folder to end after its step, or those of the command that the last part
    of the path names. Raises StorageError."""
    make(folder.parent / REQUESTS)
    write(folder.parent / REQUESTS / folder.name, "")


def withdraw(folder: Path) -> None:
    """Let the job in this folder run again."""
    file = folder.parent / REQUESTS / folder.name
    file.unlink(missing_ok=True)
    with suppress(OSError):  # others are there, or none ever was
        file.parent.rmdir()


def withdraw_all(folder: Path) -> None:
    """Let all jobs in this folder run: a command that was killed may have left its requests."""
    shutil.rmtree(folder / REQUESTS, ignore_errors=True)


@contextmanager
def ending_with(command: int) -> Iterator[None]:
    """Inside, a job saves and ends as after SIGTERM if its parent dies, which must be the command
    with this process id; then this process ends, too. Not for workers that a service started."""
    if os.getppid() != command:
        yield
        return
    try:
        with _ended_when(lambda: os.getppid() != command):
            yield
    finally:
        if os.getppid() != command:
            os._exit(EXIT_CODES[signal.SIGTERM])


@contextmanager
def _ended_when(told: Callable[[], bool]) -> Iterator[Event]:
    """Inside, a run saves and ends as after SIGTERM once it is told to; the event says that it
    was. A thread looks a few times a second."""
    over, asked = Event(), Event()

    def follow() -> None:
        while not over.wait(POLL):
            if told() and Signals.active is not None:
                asked.set()
                Signals.active.received = signal.SIGTERM
                return

    thread = Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield asked
    finally:
        over.set()
        thread.join()


@dataclass(frozen=True)
class Stoppable:
    """Calls a job. If it is asked to stop, it ends as after SIGTERM, or does not begin, and its
    worker goes on. command: what its command is called in requests."""

    job: TaskFunction
    command: str

    def __call__(self, config: DictConfig) -> Any:
        place = Path(config.output_root).absolute() / REQUESTS
        files = [place / config.name, place / self.command]

        def told() -> bool:
            return any(file.exists() for file in files)

        if told():
            return None
        with _ended_when(told) as asked:
            try:
                return self.job(config)
            except Interrupted:
                if not asked.is_set():
                    raise
        return None
