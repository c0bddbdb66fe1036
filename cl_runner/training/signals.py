"""Signals: the first asks the run to save at the end of its step, the second stops it at once."""

from __future__ import annotations

import logging
import os
import signal
import threading
from contextlib import suppress
from mmap import mmap
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, ClassVar, Self

from cl_runner.config.command_line import typed
from cl_runner.errors import EXIT_CODES, Interrupted

log = logging.getLogger("cl_runner")


class Signals:
    """While entered, signals are noted instead of obeyed. Only the main thread can do that; in
    another thread signals act as before."""

    forwarded: ClassVar[bytes | mmap] = bytes(1)
    """How many signals a parent has passed on to this process. A terminal (Ctrl-C) or Slurm may
    have sent the same ones directly, too; they must not count twice."""

    own_process: ClassVar[bool] = True
    """Whether the process does nothing but the run, so that a second signal ends it; else a second
    Ctrl-C raises KeyboardInterrupt."""

    active: ClassVar[Signals | None] = None
    """The one that is entered. Setting its `received` is like a signal."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self.heard = 0
        self.before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self._note) for number in EXIT_CODES}
        Signals.active = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        Signals.active = None
        for number, handler in self.before.items():
            signal.signal(number, handler)
        queue_again = self.before.get(signal.SIGUSR2)
        saved = isinstance(error, Interrupted) and error.number == signal.SIGUSR2
        if saved and callable(queue_again):
            queue_again(signal.SIGUSR2, None)

    def obey(self, folder: Path) -> None:
        """Raise Interrupted if one was noted, and log how to continue the run in this folder."""
        if self.received is not None:
            name = self.received.name
            log.warning("%s: saved; continue with: cl-train %s", name, typed("resume", folder))
            raise Interrupted(self.received)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.heard += 1
        forwarded = self.forwarded[0]
        if max(forwarded, self.heard - forwarded) > 1:
            if number == signal.SIGINT and not self.own_process:
                raise KeyboardInterrupt
            os._exit(EXIT_CODES[signal.Signals(number)])
        if self.received is not None:
            return
        self.received = signal.Signals(number)
        name = self.received.name
        text = f"\n{name}: saving at the end of this step; repeat it to stop at once\n"
        with suppress(OSError):  # perhaps nobody reads any more
            os.write(2, text.encode())
