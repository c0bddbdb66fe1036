"""What runs have logged over training, and the mean over seeds of each number at each step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from cl_runner.report.compare.groups import Group
from cl_runner.run_folder import read
from cl_runner.run_folder.events import Evaluation, Event, Step
from cl_runner.run_folder.plain import Damaged, decoding

MOST_POINTS = 120
"""Of a line. A page of ten strategies with ten tasks each stays small."""
Numbers: TypeAlias = np.ndarray[Any, Any]
Logged = dict[float, float]
"""The place in training → a value. Place 2.5 is the middle of the third task, 3 its end."""


@dataclass
class History:
    """What one run logged. `lengths` are the steps of each task."""

    lengths: list[int]
    measured: dict[int, Logged] = field(default_factory=dict)  # by task, on test samples
    terms: dict[str, Logged] = field(default_factory=dict)  # of the objective, by name


@dataclass(frozen=True)
class Line:
    """A number over training, [points]: the step, the mean over seeds, the lowest and the highest
    seed."""

    steps: Numbers
    mean: Numbers
    low: Numbers
    high: Numbers


@dataclass(frozen=True)
class Lines:
    """The lines of a group. `switches` are the steps at which a task ends and the next begins."""

    switches: list[float]
    end: float
    measured: dict[int, Line]
    terms: dict[str, Line]
    seeds: int


def lines(group: Group) -> Lines | None:
    """None without an undamaged `metrics.jsonl`. Where seeds differ in the length of a task, each
    place in it is at the same share of the task for all of them, and a step is the mean step."""
    histories = list(_histories(group))
    if not histories:
        return None
    ends = np.cumsum([0.0, *np.mean([history.lengths for history in histories], axis=0)])
    tasks = sorted({task for history in histories for task in history.measured})
    terms = dict.fromkeys(term for history in histories for term in history.terms)
    return Lines(
        switches=ends[1:-1].tolist(),
        end=float(ends[-1]),
        measured={t: _line([h.measured.get(t) for h in histories], ends, False) for t in tasks},
        terms={term: _line([h.terms.get(term) for h in histories], ends, True) for term in terms},
        seeds=len(histories),
    )


def _histories(group: Group) -> Iterator[History]:
    """Of the runs that have an undamaged `metrics.jsonl`."""
    for run in group.complete:
        with suppress(Damaged):
            events = read.metrics(run.folder)
            with decoding(run.folder / "metrics.jsonl"):
                yield history(events, len(run.results.tasks))


def history(events: Sequence[Event], tasks: int) -> History:
    """Raises ValueError if these are not the events of a complete run of so many tasks."""
    after = [e for e in events if isinstance(e, Evaluation) and e.event == "evaluation"]
    ends = [0, *(event.step for event in after)]
    in_order = all(a <= b for a, b in pairwise(ends))
    if [event.task for event in after] != list(range(tasks)) or not in_order:
        raise ValueError("it does not have an evaluation after each task")
    found = History([b - a for a, b in pairwise(ends)])
    for event in events:
        if not isinstance(event, Evaluation | Step):
            continue
        if event.task >= tasks or not ends[event.task] <= event.step <= ends[event.task + 1]:
            raise ValueError(f"it has step {event.step} in task {event.task + 1}")
        length = found.lengths[event.task]
        place = event.task + ((event.step - ends[event.task]) / length if length else 1.0)
        if isinstance(event, Step):
            for term, value in event.terms.items():
                found.terms.setdefault(term, {})[place] = value
        elif len(event.row) != event.task + 1:
            raise ValueError(f"the evaluation at step {event.step} is of other tasks")
        else:
            for task, value in enumerate(event.row):
                found.measured.setdefault(task, {})[place] = value
    return found


def _line(seeds: Sequence[Mapping[float, float] | None], ends: Numbers, averaged: bool) -> Line:
    """The mean over the seeds that have it, at the places of the one with the most. Long lines are
    thinned. averaged: whether a value stands for all steps since the previous one."""
    found = [np.array(sorted(logged.items())).T for logged in seeds if logged]
    places, _ = max(found, key=lambda pair: len(pair[0]))
    values = np.array([np.interp(places, own, mine) for own, mine in found])  # [seeds, points]
    kept = _kept(places)
    if averaged:
        starts = np.array([0, *(kept[:-1] + 1)])
        values = np.add.reduceat(values, starts, axis=1) / np.diff([*starts, len(places)])
    else:
        values = values[:, kept]
    steps = np.interp(places[kept], np.arange(len(ends)), ends)
    return Line(steps, values.mean(axis=0), values.min(axis=0), values.max(axis=0))


def _kept(places: Numbers) -> Numbers:
    """The indices of at most about MOST_POINTS places: those evenly spaced and, if tasks are few,
    the first and last of each task."""
    if len(places) <= MOST_POINTS:
        return np.arange(len(places))
    changes = np.nonzero(np.diff(np.ceil(places)))[0]
    even = np.linspace(0, len(places) - 1, MOST_POINTS).round().astype(int)
    ends = [*changes, *(changes + 1)] if len(changes) < MOST_POINTS / 3 else []
    return np.unique([*even, *ends])
