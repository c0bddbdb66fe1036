"""How many pictures a trained network classifies correctly, by task and by class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from operator import index
from statistics import fmean
from typing import Any, TypeVar

from cl_runner.errors import DataError

CHUNK = 1000  # pictures at a time
NOT_INTEGERS = (TypeError, ValueError, RuntimeError)
"""What Python, NumPy and torch raise for what is no integer, or no pair."""
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Accuracies:
    """Shares of correctly classified pictures, fractions of 1. What has no picture is left out."""

    accuracy: float
    samples: int
    of_task: dict[str, float]  # by the name of the task, as far as it is known
    of_class: dict[int, float]  # by the data set's own label

    @classmethod
    def of(cls, judged: Iterable[tuple[str | None, int, bool]]) -> Accuracies:
        """From the task, the label and the outcome of each picture. Raises DataError if there is
        none."""
        every = list(judged)
        if not every:
            raise DataError("data error: there is no picture")
        return cls(
            fmean(right for *_, right in every),
            len(every),
            _shares((task, right) for task, _, right in every if task is not None),
            dict(sorted(_shares((label, right) for _, label, right in every).items())),
        )


def _shares(judged: Iterable[tuple[Key, bool]]) -> dict[Key, float]:
    found = defaultdict[Key, list[bool]](list)
    for key, right in judged:
        found[key].append(right)
    return {key: fmean(outcomes) for key, outcomes in found.items()}


def chunks(x: Any, y: Any) -> Iterator[tuple[Any, list[int]]]:
    """Pictures and their labels, some at a time: of x and y, or of a Dataset x of such pairs.

    Raises DataError unless there are as many labels as pictures, and all are integers.
    """
    if not hasattr(x, "__len__"):
        what = f"must be an array, a list or a Dataset, not {type(x).__name__}"
        raise DataError(f"data error: pictures {what}")
    labels = None if y is None else _labels(y)
    if labels is not None and len(labels) != len(x):
        raise DataError(f"data error: {len(x)} pictures but {len(labels)} labels")
    for start in range(0, len(x), CHUNK):
        end = min(start + CHUNK, len(x))
        if labels is not None:
            yield x[start:end], labels[start:end]
        else:
            pairs = [_pair(x[number]) for number in range(start, end)]
            yield [picture for picture, _ in pairs], [label for _, label in pairs]


def _labels(y: Any) -> list[int]:
    try:
        return [index(label) for label in y]
    except NOT_INTEGERS:
        raise DataError("data error: labels are integers [N], one for each picture") from None


def _pair(entry: Any) -> tuple[Any, int]:
    try:
        picture, label = entry
        return picture, index(label)
    except NOT_INTEGERS:
        what = "no labels are given: x, y or a Dataset of pairs (picture, integer) is needed"
        raise DataError(f"data error: {what}") from None
