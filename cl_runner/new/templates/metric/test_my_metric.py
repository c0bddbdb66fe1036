"""my_metric is what it says, and a run has it."""

from pathlib import Path

import cl_runner
import numpy as np
import pytest

from my_metric import my_metric


def test_it_is_that_of_the_worst_class() -> None:
    """Class 0: two of two right; class 1: one of three; class 2: one of one."""
    labels = [np.array([0, 0, 1]), np.array([1, 1, 2])]
    after_last = [np.array([0, 0, 1]), np.array([0, 2, 2])]
    assert my_metric(labels, [[labels[0]], after_last]) == pytest.approx(1 / 3)


def test_a_run_has_it(tmp_path: Path) -> None:
    words = ("trusted_targets=[my_metric]", "strategy=joint", "epochs=1", "threads=1")
    run = cl_runner.run(*words, f"output_root={tmp_path}")
    assert 0 <= (run.metrics["my_metric"] or 0) < (run.metrics["average_accuracy"] or 0)
