"""The progress bar of a run; plain lines where the output is no terminal."""

from __future__ import annotations

import logging
import sys
from threading import RLock
from typing import Any

from tqdm import tqdm

from cl_runner.hidden import masked
from cl_runner.text import harmless, number
from cl_runner.tracking.tracker import Record, RunInfo, Tracker

BAR = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} steps [{elapsed}<{remaining}]{postfix}"


class Progress(Tracker):
    """One bar for all steps of all tasks, beside it the loss terms, accuracies and alarms.

    Log lines are printed above the bar. Without a terminal there is no bar, and they are all
    that is printed: one line a task.
    """

    def begin(self, run: RunInfo) -> None:
        self.tasks = len(run.task_names)
        self.accuracy = ""
        self.alarms: list[str] = []
        self.handler = _AboveTheBar(run.masks)
        logging.getLogger("cl_runner").addHandler(self.handler)
        # tqdm's own lock is shared with forked processes: one that is killed while it holds the
        # lock, or a thread that held it at the fork, would stop all others for ever.
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
        for record in run.earlier:
            self.log(record)

    def advance(self, task: int, epoch: int, terms: dict[str, float]) -> None:
        # The bar redraws ten times a second at most; only then are the texts made.
        if self.bar.update(1):
            self.bar.set_description_str(f"task {task + 1}/{self.tasks} epoch {epoch + 1}", False)
            losses = [f"{name} {value:.3f}" for name, value in terms.items()]
            self.bar.set_postfix_str("  ".join([*losses, self.accuracy, *self.alarms]), False)

    def log(self, record: Record) -> None:
        if record["event"] == "step":
            self.bar.n = record["step"]  # further on where the first task was taken over
        if record["event"] == "evaluation":
            measure = "mse" if "mse" in record else "accuracy"
            row = " ".join(number(value, measure) for value in record[measure])
            self.accuracy = f"{measure} {row}"
        if record["event"] == "alarm":
            self.alarms.append(harmless(f"ALARM: {record['term']} inert"))

    def end(self, results: dict[str, Any] | None, error: BaseException | None) -> None:
        self.bar.close()
        logging.getLogger("cl_runner").removeHandler(self.handler)


class _AboveTheBar(logging.Handler):
    def __init__(self, masks: dict[str, str]) -> None:
        super().__init__()
        self.masks = masks

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        if record.levelno < logging.ERROR:  # errors are told once, when the run has ended
            told = masked(prefix + record.getMessage(), self.masks)
            tqdm.write(harmless(told), file=sys.stderr)
