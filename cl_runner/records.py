"""The raw records of a run, from which metrics are computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]
Matrix = list[list[float | None]]
Curve = Sequence[tuple[int, Sequence[float]]]
"""At each evaluation, the task being learned and the accuracies of the tasks so far."""


BySample: TypeAlias = Sequence[Sequence[Array]]
"""Row t, column k ≤ t: an array over the test samples of task k, after learning task t."""


@dataclass(frozen=True)
class Samples:
    """The classes of each test sample, as the stream numbers them."""

    labels: Sequence[Array]  # of each task, [N] integers
    predictions: BySample  # [N] integers: the class that R counts


@dataclass(frozen=True, kw_only=True)
class Records:
    """The raw records of a run, under the names that metrics use. None: not recorded."""

    R: Matrix | None = None
    M: Matrix | None = None
    sizes: Sequence[int] | None = None  # test samples of each task
    curve: Curve | None = None  # if the run was evaluated within tasks
    before: Sequence[float | None] | None = None  # accuracy on each task just before learning it
    untrained: Sequence[float] | None = None  # accuracy on each task before the first one
    reference: Matrix | None = None  # R of the run that this one is compared with
    classes: Sequence[range] | None = None  # of each task, as the stream numbers them
    # Read only if a metric asks for them.
    of_samples: Callable[[], Samples | None] = lambda: None
    of_logits: Callable[[], BySample | None] = lambda: None

    @property
    def labels(self) -> Sequence[Array] | None:
        """The true class of each test sample, by task: [N] integers each."""
        samples = self.of_samples()
        return None if samples is None else samples.labels

    @property
    def predictions(self) -> BySample | None:
        """The predicted class of each test sample after each task, [N] integers: as R counts them,
        among the task's own classes where the task is named."""
        samples = self.of_samples()
        return None if samples is None else samples.predictions

    @property
    def logits(self) -> BySample | None:
        """The scores of each test sample after each task, [N, classes seen so far] float32. Only
        with `keep=logits`."""
        return self.of_logits()


NAMES = ("R", "M", "sizes", "curve", "before", "untrained", "reference", "classes", "labels",
         "predictions", "logits")  # fmt: skip
"""What a metric can ask for."""
