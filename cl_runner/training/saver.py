"""When a run saves its state, and how it ends at a signal."""

from __future__ import annotations

import time
from collections.abc import Callable

from cl_runner.run_folder.checkpoint import Checkpoints, State
from cl_runner.tracking.local import LocalFiles
from cl_runner.training.settings import Schedule
from cl_runner.training.signals import Signals


class Saver:
    """Saves a run's state when it is due, and when a signal asks the run to end."""

    def __init__(
        self, checkpoints: Checkpoints, schedule: Schedule, files: LocalFiles, signals: Signals
    ) -> None:
        self.checkpoints, self.schedule = checkpoints, schedule
        self.files, self.signals = files, signals
        self.steps, self.time = 0, time.monotonic()

    def after_step(self, state: Callable[[], State]) -> None:
        """Save if the schedule or a signal asks for it. Raises Interrupted after a signal."""
        self.steps += 1
        seconds = time.monotonic() - self.time
        if self.signals.received is not None or self.schedule.due(self.steps, seconds):
            self.save(state)

    def save(self, state: Callable[[], State]) -> None:
        """Save now. Raises Interrupted after a signal.

        The metrics are written to the disk first: the state records which of them belong to it.
        """
        self.checkpoints.save({**state(), **self.files.durable()})
        self.steps, self.time = 0, time.monotonic()
        self.signals.obey(self.files.folder)
