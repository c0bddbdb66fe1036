"""The progress bar of a run; a line a minute if the output is not a terminal."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable

from tqdm import tqdm

from cl_runner import terminal
from cl_runner.hidden import masked
from cl_runner.run_folder.events import Alarm, Evaluation, Event, Step
from cl_runner.run_folder.outcome import Results
from cl_runner.text import duration, harmless
from cl_runner.tracking.tracker import RunInfo, Tracker

BAR = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} steps [{elapsed}<{remaining}]{postfix}"


class Progress(Tracker):
    """One bar for all steps of all tasks, followed by the loss terms, accuracies and alarms.

    Log lines, one per task, are printed above the bar. Without a terminal there is no bar, but a
    line a minute between those lines. clock: gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock

    def begin(self, run: RunInfo) -> None:
        self.tasks, self.steps, self.step = len(run.task_names), run.steps, run.steps_done
        self.start, self.begun_at = self.clock(), run.steps_done
        self.printed = self.start
        self.accuracy = ""
        self.alarms: list[str] = []
        self.handler = _AboveTheBar(run.masks, self._say)
        logging.getLogger("cl_runner").addHandler(self.handler)
        self.bar = terminal.bar(run.steps, run.steps_done, BAR)
        for event in run.earlier:
            self.log(event)

    def advance(self, task: int, epoch: int, terms: dict[str, float]) -> None:
        self.step += 1
        # The bar redraws at most ten times a second; the texts are made only then.
        if self.bar.update(1):
            self.bar.set_description_str(self._place(task, epoch), False)
            self.bar.set_postfix_str(self._measured(terms), False)
        elif self.bar.disable and self.clock() - self.printed >= terminal.MINUTE:
            steps = f"step {self.step}/{self.steps}, {self._left()}"
            self._say(f"{self._place(task, epoch)}, {steps}: {self._measured(terms)}")

    def _place(self, task: int, epoch: int) -> str:
        return f"task {task + 1}/{self.tasks} epoch {epoch + 1}"

    def _measured(self, terms: dict[str, float]) -> str:
        losses = [f"{name} {value:.3f}" for name, value in terms.items()]
        return "  ".join([*losses, self.accuracy, *self.alarms]).rstrip()

    def _left(self) -> str:
        """From the time that a step has taken on average since the run began."""
        taken = self.clock() - self.start
        rest = (self.steps - self.step) / (self.step - self.begun_at)
        return f"about {duration(taken * rest)} left"

    def _say(self, line: str) -> None:
        tqdm.write(harmless(line), file=sys.stderr)
        self.printed = self.clock()

    def log(self, event: Event) -> None:
        if isinstance(event, Step):
            if event.step > self.step:  # the first task was taken from the cache
                self.start, self.begun_at = self.clock(), event.step
                self.step = self.bar.n = event.step
        elif isinstance(event, Evaluation) and event.event == "evaluation":
            self.accuracy = event.brief
        elif isinstance(event, Alarm):
            self.alarms.append(harmless(f"ALARM: {event.term} inert"))

    def end(self, results: Results | None, error: BaseException | None) -> None:
        self.bar.close()
        logging.getLogger("cl_runner").removeHandler(self.handler)


class _AboveTheBar(logging.Handler):
    def __init__(self, masks: dict[str, str], say: Callable[[str], None]) -> None:
        super().__init__()
        self.masks, self.say = masks, say

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        if record.levelno < logging.ERROR:  # errors are printed once, when the run has ended
            text = getattr(record, "brief", None) or record.getMessage()
            self.say(masked(prefix + text, self.masks))
