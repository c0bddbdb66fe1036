"""What the package brings works, also before it is installed and trusted."""

from pathlib import Path

import cl_runner
import numpy as np
import pytest

import my_package
from my_package.metrics import my_package_worst_class

CONF = Path(my_package.__file__).parent / "conf"
TINY = ("epochs=1", "batch_size=64", "model.widths=[16]", "dataset.tasks=2", "threads=1")


def test_the_method_trains_and_has_the_metric(tmp_path: Path) -> None:
    words = ("trusted_targets=[my_package]", "strategy=my_package", f"output_root={tmp_path}")
    run = cl_runner.run(*TINY, *words, config_dir=CONF)
    assert run.results.alarms == []
    assert run.metrics["my_package_worst_class"] is not None


def test_the_metric_is_that_of_the_worst_class() -> None:
    """Class 0: two of two right; class 1: one of three."""
    labels, found = [np.array([0, 0, 1, 1, 1])], [[np.array([0, 0, 1, 0, 0])]]
    assert my_package_worst_class(labels, found) == pytest.approx(1 / 3)
