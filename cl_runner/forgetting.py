"""Why a task was forgotten: where its samples went, and the parts that its loss consists of.

A run records, for each sample of task k after learning task t, which class it predicts among all
classes seen so far and among the task's own. With `diagnose=probe` it also records which class a
linear head predicts that was refitted to the frozen features. Three accuracies follow:

    A[t][k]  among all classes seen so far, by the run's own classifier
    O[t][k]  among the task's own classes, by the run's own classifier
    P[t][k]  among the task's own classes, by the refitted head

From A = P − (P − O) − (O − A) at two times, the loss since task k was learned, A[k][k] − A[t][k],
is exactly the sum of three parts:

    features  P[k][k] − P[t][k]                    no linear head tells the classes apart any more
    head      (P − O)[t][k] − (P − O)[k][k]        its own head no longer does; a refitted one could
    hidden    (O − A)[t][k] − (O − A)[k][k]        they are told apart, but lie behind other tasks'

O − A is the share of samples that are right among their own classes and called a class of another
task. A part is negative where something was gained. Without a refitted head, features and head are
one part, O[k][k] − O[t][k]. Where the task is named at test time, or tasks share their classes, A
is O and nothing is hidden. The mean over k < T of the loss after the last task is minus the
`backward_transfer` of the same samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import fmean
from typing import Any, TypeAlias, TypeVar

import numpy as np

Classes: TypeAlias = np.ndarray[Any, Any]
"""[N] integers: the class of each sample, as the stream numbers them."""
OWN, PROBE, PROBE_OWN = "_task_il", "_probe", "_probe_task_il"
"""Endings of names in the records: among the task's own classes, by a refitted head, both."""


def key_of(after: int, task: int) -> str:
    """The name of the predictions on a task after another; both count from 0."""
    return f"after_task_{after + 1}_on_task_{task + 1}"


def labels_of(task: int) -> str:
    """The name of the labels of a task, which counts from 0."""
    return f"labels_of_task_{task + 1}"


@dataclass(frozen=True)
class Shares:
    """How the samples of one task are classified at one time, as shares of them. `right` and the
    three `called_` sum to 1; without other tasks' classes to choose from, the first two are 0."""

    right: float  # A
    right_among_own: float  # O
    right_by_probe: float | None  # P
    probe_among_all: float | None  # right by the refitted head among all classes seen so far
    called_latest: float  # a class of the task learned last, which is another one
    called_other: float  # a class of any other task
    called_own: float  # a wrong class of their own task


@dataclass(frozen=True)
class Parts:
    """The parts that a loss consists of. `features` is None without a refitted head; `head` is then
    both of them."""

    features: float | None
    head: float
    hidden: float

    @property
    def loss(self) -> float:
        return (self.features or 0.0) + self.head + self.hidden


@dataclass(frozen=True)
class Course:
    """What became of each task of a run. Rows: after task t; columns: task k ≤ t."""

    shares: list[list[Shares]]
    classes: list[dict[int, float]]  # row t: accuracy of each class seen so far
    bias: list[float] | None
    """Row t: the share of all samples seen so far that are called a class of task t, minus the
    share that belongs to it. None where no class competes with another task's."""

    def parts(self, after: int, task: int) -> Parts:
        """What the task has lost since it was learned."""
        then, now = self.shares[task][task], self.shares[after][task]
        hidden = (now.right_among_own - now.right) - (then.right_among_own - then.right)
        within = then.right_among_own - now.right_among_own
        if then.right_by_probe is None or now.right_by_probe is None:
            return Parts(None, within, hidden)
        features = then.right_by_probe - now.right_by_probe
        return Parts(features, within - features, hidden)

    @property
    def lost(self) -> Parts:
        """After the last task, the mean over all earlier ones. There must be one."""
        last = len(self.shares) - 1
        return mean(Parts, [self.parts(last, task) for task in range(last)])

    @property
    def then(self) -> Shares:
        """Just after each task was learned, the mean over all tasks but the last."""
        return mean(Shares, [self.shares[task][task] for task in range(len(self.shares) - 1)])

    @property
    def now(self) -> Shares:
        """After the last task, the mean over the same tasks."""
        return mean(Shares, self.shares[-1][:-1])


Numbers = TypeVar("Numbers", Shares, Parts)


def mean(kind: type[Numbers], several: Sequence[Numbers]) -> Numbers:
    """The mean of each number; None where one of them is None."""
    columns = {field.name: [getattr(one, field.name) for one in several] for field in fields(kind)}
    return kind(**{k: None if None in v else fmean(v) for k, v in columns.items()})  # type: ignore[arg-type]


def course(
    arrays: Mapping[str, Classes], own: Sequence[range], shared: bool, named: bool
) -> Course:
    """Read off a run's records.

    arrays: the labels and predictions of each task, under the names of `labels_of` and `key_of`;
    own: the classes of each task; shared: whether all tasks have the same; named: whether the task
    is given at test time, so that only its own classes compete. Raises KeyError if predictions are
    missing, except those of a refitted head.
    """
    apart = named or shared
    tasks = range(len(own))
    shares, classes, bias = [], [], []
    for t in tasks:
        row = []
        of_class, right = np.zeros(own[-1].stop, dtype=int), np.zeros(own[-1].stop, dtype=int)
        called, belongs, samples = 0, 0, 0
        for k in tasks[: t + 1]:
            y, key = arrays[labels_of(k)], key_of(t, k)
            predicted = arrays[key + OWN] if named else arrays[key]
            row.append(_shares(arrays, key, y, predicted, own[k], own[t], apart))
            of_class += np.bincount(y, minlength=len(of_class))
            right += np.bincount(y[predicted == y], minlength=len(right))
            called += int(_within(predicted, own[t]).sum())
            belongs += len(y) if k == t else 0
            samples += len(y)
        shares.append(row)
        classes.append({int(c): float(right[c] / of_class[c]) for c in np.flatnonzero(of_class)})
        bias.append((called - belongs) / samples)
    return Course(shares, classes, None if apart else bias)


def _shares(
    arrays: Mapping[str, Classes],
    key: str,
    y: Classes,
    predicted: Classes,
    own: range,
    latest: range,
    apart: bool,
) -> Shares:
    """apart: no class competes with one of another task."""
    inside = _within(predicted, own) | apart
    of_latest = _within(predicted, latest) & ~inside
    probed = arrays.get(key + PROBE_OWN)
    probed_among_all = arrays.get(key + (PROBE_OWN if apart else PROBE))
    return Shares(
        right=_share(predicted == y),
        right_among_own=_share((predicted if apart else arrays[key + OWN]) == y),
        right_by_probe=None if probed is None else _share(probed == y),
        probe_among_all=None if probed_among_all is None else _share(probed_among_all == y),
        called_latest=_share(of_latest),
        called_other=_share(~inside & ~of_latest),
        called_own=_share(inside & (predicted != y)),
    )


def _within(classes: Classes, some: range) -> Classes:
    found: Classes = (some.start <= classes) & (classes < some.stop)
    return found


def _share(flags: Classes) -> float:
    return float(np.mean(flags))
