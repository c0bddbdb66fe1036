"""A tracker of the user's: whatever it does, the run goes on as without it."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import numpy as np
import torch

from cl_runner.errors import first_line
from cl_runner.run_folder.events import Event
from cl_runner.run_folder.outcome import Results
from cl_runner.tracking.tracker import RunInfo, Tracker

log = logging.getLogger("cl_runner")


class Guarded(Tracker):
    """Passes each call on to a tracker. If the tracker raises, one line warns of it, and it is left
    out from then on. It is given copies, and the generators of torch, numpy and Python are
    afterwards as before, so neither what it overwrites nor what it draws changes a result."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker, self.off = tracker, False
        self.follows_steps = type(tracker).advance is not Tracker.advance

    def begin(self, run: RunInfo) -> None:
        self._call(self.tracker.begin, deepcopy(run))

    def advance(self, task: int, epoch: int, terms: dict[str, float]) -> None:
        if self.follows_steps:
            self._call(self.tracker.advance, task, epoch, dict(terms))

    def log(self, event: Event) -> None:
        self._call(self.tracker.log, deepcopy(event))

    def end(self, results: Results | None, error: BaseException | None) -> None:
        self._call(self.tracker.end, deepcopy(results), error)

    def _call(self, method: Callable[..., None], *arguments: Any) -> None:
        if self.off:
            return
        try:
            with _generators_as_before():
                method(*arguments)
        except (Exception, SystemExit) as error:
            self.off = True
            name = type(self.tracker).__name__
            log.warning("%s is off for the rest of this run: %s", name, first_line(error))


@contextmanager
def _generators_as_before() -> Iterator[None]:
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    used = torch.cuda.is_initialized()  # else asking for its state would begin to use the GPU
    of_gpus = torch.cuda.get_rng_state_all() if used else []
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
        if used:
            torch.cuda.set_rng_state_all(of_gpus)
