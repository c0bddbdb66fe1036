"""The interface of everything that follows a run: local files, progress bar, W&B."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cl_runner.config.targets import target
from cl_runner.run_folder.events import Event
from cl_runner.run_folder.outcome import Results
from cl_runner.run_folder.resume import Attempt


@dataclass(frozen=True)
class RunInfo:
    """What a tracker knows about a run before its first step."""

    folder: Path
    config: dict[str, Any]  # resolved, secrets masked
    names: dict[str, str]  # the chosen option of each config group, and `group`
    task_names: list[str]
    steps: int  # of the whole run
    steps_done: int = 0  # by earlier attempts, up to the state that was saved
    earlier: list[Event] = field(default_factory=list)  # logged by earlier attempts
    attempt: Attempt = field(default_factory=lambda: Attempt("", 1, ""))
    overrides: list[str] = field(default_factory=list)  # of the command line, secrets left out
    masks: dict[str, str] = field(default_factory=dict)  # from secrets to what to write instead


@target
class Tracker(ABC):  # noqa: B024
    """Follows a run. No tracker can change a result."""

    def begin(self, run: RunInfo) -> None:  # noqa: B027
        """Called before the first step."""

    def advance(self, task: int, epoch: int, terms: dict[str, float]) -> None:  # noqa: B027
        """Called after each step."""

    def log(self, event: Event) -> None:  # noqa: B027
        """Called for each event that is worth a line."""

    def end(self, results: Results | None, error: BaseException | None) -> None:  # noqa: B027
        """Called when the run is over, with its results or the error that ended it."""


class Trackers:
    """All trackers of a run; each call goes to all of them in turn."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self.trackers = list(trackers)
        self.results: Results | None = None
        """Set when the run has succeeded."""

    @contextmanager
    def following(self, run: RunInfo) -> Iterator[None]:
        """Begin all; whatever happens, end all that began.

        The first one, the local files, ends first: they are the truth and wait for no mirror.
        """
        begun: list[Tracker] = []
        error: BaseException | None = None
        try:
            for tracker in self.trackers:
                tracker.begin(run)
                begun.append(tracker)
            yield
        except BaseException as raised:
            error = raised
            raise
        finally:
            with ExitStack() as last_pushed_first:
                for tracker in [*begun[1:], *begun[:1]]:
                    results = self.results if error is None else None
                    last_pushed_first.callback(tracker.end, results, error)

    def advance(self, task: int, epoch: int, terms: dict[str, float]) -> None:
        for tracker in self.trackers:
            tracker.advance(task, epoch, terms)

    def log(self, event: Event) -> None:
        for tracker in self.trackers:
            tracker.log(event)

    @contextmanager
    def recording(self) -> Iterator[list[Event]]:
        """The events that are logged meanwhile."""
        recorder = _Recorder()
        self.trackers.append(recorder)
        try:
            yield recorder.events
        finally:
            self.trackers.remove(recorder)


class _Recorder(Tracker):
    def __init__(self) -> None:
        self.events: list[Event] = []

    def log(self, event: Event) -> None:
        self.events.append(event)
