"""Metrics, which a run, the report and W&B have once the package is trusted."""

from collections.abc import Sequence

import numpy as np
from cl_runner.measures import SHARE
from cl_runner.metrics import metric
from cl_runner.records import Array, BySample


@metric(SHARE, more_is_better=True)
def my_package_worst_class(labels: Sequence[Array], predictions: BySample) -> float:
    """Lowest accuracy on the samples of any one class after the last task."""
    y, found = np.concatenate(labels), np.concatenate(predictions[-1])
    return min(float(np.mean(found[y == label] == label)) for label in np.unique(y))
