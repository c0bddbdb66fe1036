"""The progress bar of a run; plain lines if the output is not a terminal."""

from __future__ import annotations

import logging
import sys
from threading import RLock

from tqdm import tqdm

from cl_runner.hidden import masked
from cl_runner.run_folder.events import Alarm, Evaluation, Event, Step
from cl_runner.run_folder.outcome import Results
from cl_runner.text import harmless
from cl_runner.tracking.tracker import RunInfo, Tracker

BAR = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} steps [{elapsed}<{remaining}]{postfix}"


class Progress(Tracker):
    """One bar for all steps of all tasks, followed by the loss terms, accuracies and alarms.

    Log lines are printed above the bar. Without a terminal there is no bar, only those lines: one
    per task.
    """

    def begin(self, run: RunInfo) -> None:
        self.tasks = len(run.task_names)
        self.accuracy = ""
        self.alarms: list[str] = []
        self.handler = _AboveTheBar(run.masks)
        logging.getLogger("cl_runner").addHandler(self.handler)
        # Forked processes share tqdm's own lock. If one is killed while it holds the lock, or a
        # thread held it at the fork, all others would wait for ever.
        tqdm.monitor_interval = 0
        tqdm.set_lock(RLock())
        self.bar = tqdm(
            total=run.steps,
            initial=run.steps_done,
            disable=None,
            bar_format=BAR,
            dynamic_ncols=True,
            leave=False,
        )
        for event in run.earlier:
            self.log(event)

    def advance(self, task: int, epoch: int, terms: dict[str, float]) -> None:
        # The bar redraws at most ten times a second; the texts are made only then.
        if self.bar.update(1):
            self.bar.set_description_str(f"task {task + 1}/{self.tasks} epoch {epoch + 1}", False)
            losses = [f"{name} {value:.3f}" for name, value in terms.items()]
            self.bar.set_postfix_str("  ".join([*losses, self.accuracy, *self.alarms]), False)

    def log(self, event: Event) -> None:
        if isinstance(event, Step):
            self.bar.n = event.step  # jumps ahead if the first task was taken from the cache
        elif isinstance(event, Evaluation) and event.event == "evaluation":
            self.accuracy = event.text
        elif isinstance(event, Alarm):
            self.alarms.append(harmless(f"ALARM: {event.term} inert"))

    def end(self, results: Results | None, error: BaseException | None) -> None:
        self.bar.close()
        logging.getLogger("cl_runner").removeHandler(self.handler)


class _AboveTheBar(logging.Handler):
    def __init__(self, masks: dict[str, str]) -> None:
        super().__init__()
        self.masks = masks

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        if record.levelno < logging.ERROR:  # errors are printed once, when the run has ended
            line = masked(prefix + record.getMessage(), self.masks)
            tqdm.write(harmless(line), file=sys.stderr)
