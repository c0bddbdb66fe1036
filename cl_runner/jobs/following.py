"""Follow jobs by their folders, whatever launcher runs them and wherever they run."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from cl_runner.jobs.countdown import Countdown
from cl_runner.jobs.job import Job
from cl_runner.run_folder import read
from cl_runner.run_folder.outcome import Results
from cl_runner.run_folder.plain import Damaged, content
from cl_runner.run_folder.read import DONE, MISSING
from cl_runner.text import duration

PAUSE = 0.5
"""Seconds between two looks at the folders; more, if a look takes long."""
SHARE = 0.05
"""The largest share of the time that looking may take."""
LOG = 64 * 2**20
"""Of a larger log no warnings are shown."""
_WARNING = re.compile(r"^\d{4}-[\d-]+ [\d:,]+ WARNING (.*)$", re.MULTILINE)
_NUMBER = re.compile(r"\d[\d.]*(e[+-]?\d+)?")


class Following:
    """Call it often: it tells the countdown which of the jobs have begun or ended since. Each kind
    of warning in their logs is shown once. label: what tells a job from the others."""

    def __init__(
        self, jobs: Sequence[Job], countdown: Countdown, label: Callable[[Job], str]
    ) -> None:
        self.countdown, self.label = countdown, label
        self.open = {job.folder: job for job in jobs}
        self.stamps = {job.folder: job.stamp() for job in jobs}
        self.logged = {job.folder: _size(job.folder / "log.txt") for job in jobs}
        self.kinds = set[str]()  # of warnings
        self.warned = 0  # jobs with warnings
        self.next = 0.0

    def __call__(self) -> None:
        """Look at the folders, unless that was done just now."""
        start = time.monotonic()
        if start < self.next:
            return
        self.look()
        self.countdown.tick()
        end = time.monotonic()
        self.next = end + max(PAUSE, (end - start) / SHARE)

    def look(self) -> None:
        """Look at the folders now."""
        for folder, job in list(self.open.items()):
            stamp = job.stamp()
            if stamp == self.stamps[folder]:
                continue
            self.stamps[folder] = stamp
            state = job.state
            if state == "running":
                self.countdown.begun(folder)
            elif state in (DONE, "failed"):
                del self.open[folder]
                text, complete = outcome(folder)
                self.countdown.ended(folder, self.label(job), text, complete=complete)
                self._warn(folder)

    def finish(self) -> None:
        """The launcher has ended: tell of all that have, and of those that were cut off."""
        self.look()
        for folder, job in self.open.items():
            if job.state != MISSING:
                self.countdown.ended(folder, self.label(job), job.state, complete=False)
        if self.warned > 1:
            self.countdown.say(f"{self.warned} jobs have warnings in their log.txt")

    def _warn(self, folder: Path) -> None:
        texts = warnings_in(folder, self.logged[folder])
        self.warned += bool(texts)
        for text in texts:
            kind = _NUMBER.sub("#", text)
            if kind not in self.kinds:
                self.kinds.add(kind)
                self.countdown.say(f"  warning: {text}")


def outcome(folder: Path) -> tuple[str, bool]:
    """How a job that has ended did, in words, and whether it is complete."""
    try:
        status = read.status(folder)
        if status.status == DONE:
            return measured(read.results(folder)), True
        return f"failed with exit code {status.exit_code}: {status.complaint}", False
    except Damaged as damaged:
        return str(damaged), False


def measured(results: Results) -> str:
    """The first metrics of a run and its time: `54.1 %, forgetting 75.9, 12 s`."""
    first, second = results.headline[:2]
    value, other = results.metrics[first.name], results.metrics[second.name]
    sign = first.unit.sign
    parts = [f"{first.unit.text(value)} {sign}" if sign else first.sentence(value)]
    parts += [] if other is None else [f"{second.title} {second.unit.text(other)}"]
    return ", ".join([*parts, duration(results.cost.seconds)])


def warnings_in(folder: Path, start: int = 0) -> list[str]:
    """The warnings in a run's log, from this byte on."""
    with suppress(Damaged):
        text = content(folder / "log.txt", LOG)[start:].decode(errors="replace")
        return _WARNING.findall(text)
    return []


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
