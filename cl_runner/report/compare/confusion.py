"""Which class the samples of each class are taken for after the last task, in means over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from cl_runner.forgetting import OWN, Classes, key_of, labels_of
from cl_runner.report.compare.groups import Group
from cl_runner.run_folder import read
from cl_runner.run_folder.plain import Damaged, decoding

Shares: TypeAlias = np.ndarray[Any, Any]
"""[true class, predicted class]: a row sums to 1, or is NaN if the class has no samples."""

MOST_CLASSES = 2000
"""A matrix of more is neither counted nor drawn: nobody could see anything in it."""


@dataclass(frozen=True)
class Confusion:
    """The mean over seeds of the confusion matrices of a group, in the order of learning."""

    shares: Shares
    deviations: Shares | None  # over seeds; None for a single one
    tasks: list[range]  # the classes of each task; a single range where tasks share their classes
    labels: list[str] | None
    """Of the classes, as the data set calls them; None if seeds have different orders."""
    seeds: int


def confusion(group: Group) -> Confusion | None:
    """None in regression, with too many classes, and without undamaged predictions."""
    first = group.complete[0].results
    if first.measure.has_fits or first.class_ranges[-1].stop > MOST_CLASSES:
        return None
    found = list(_of_seeds(group))
    if not found:
        return None
    orders, matrices = zip(*found, strict=True)
    return Confusion(
        shares=np.mean(matrices, axis=0),
        deviations=np.std(matrices, axis=0, ddof=1) if len(matrices) > 1 else None,
        tasks=first.class_ranges[:1] if first.shares_classes else first.class_ranges,
        labels=orders[0] if all(order == orders[0] for order in orders) else None,
        seeds=len(matrices),
    )


def _of_seeds(group: Group) -> Iterator[tuple[list[str], Shares]]:
    """The order of the classes and the matrix of each run whose predictions are undamaged."""
    for run in group.complete:
        with suppress(Damaged):
            arrays = read.classes_of(run.folder, run.results)
            with decoding(run.folder / read.PREDICTIONS):
                own, named = run.results.class_ranges, run.results.names_task
                yield run.results.class_labels, after_the_last_task(arrays, own, named)


def after_the_last_task(arrays: Mapping[str, Classes], own: Sequence[range], named: bool) -> Shares:
    """The confusion matrix over the samples of all tasks, each row divided by its sum.

    arrays: as `read.classes_of` returns them; own: the classes of each task; named: whether the
    task is given at test time. Raises KeyError if predictions are missing.
    """
    classes = own[-1].stop
    counts = np.zeros((classes, classes))
    for task in range(len(own)):
        key = key_of(len(own) - 1, task) + (OWN if named else "")
        np.add.at(counts, (arrays[labels_of(task)], arrays[key]), 1)
    with np.errstate(invalid="ignore"):
        shares: Shares = counts / counts.sum(axis=1, keepdims=True)
    return shares
