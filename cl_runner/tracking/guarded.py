"""A tracker of the user's: whatever it does, the run goes on as without it."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    out from then on. The generators of torch, numpy and Python are afterwards as before, so what it
    draws changes no result."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker, self.off = tracker, False
        self.follows_steps = type(tracker).advance is not Tracker.advance

    def begin(self, run: RunInfo) -> None:
        self._call(self.tracker.begin, run)

    def advance(self, task: int, epoch: int, terms: dict[str, float]) -> None:
        if self.follows_steps:
            self._call(self.tracker.advance, task, epoch, dict(terms))

    def log(self, event: Event) -> None:
        self._call(self.tracker.log, event)

    def end(self, results: Results | None, error: BaseException | None) -> None:
        self._call(self.tracker.end, results, error)

    def _call(self, method: Callable[..., None], *arguments: Any) -> None:
        if self.off:
            return
        try:
            with _generators_as_before():
                method(*arguments)
        except Exception as error:
            self.off = True
            name = type(self.tracker).__name__
            log.warning("%s is off for the rest of this run: %s", name, first_line(error))


@contextmanager
def _generators_as_before() -> Iterator[None]:
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
