"""my_model has the features that it says, and learns."""

from pathlib import Path

import cl_runner
import torch

import my_model

OPTIONS = Path(my_model.__file__).parent / "options"


def test_it_has_as_many_features_as_its_width() -> None:
    network = my_model.my_model((1, 8, 8), 10, width=7, init="default", new_rows="default")
    assert network.features(torch.zeros(3, 1, 8, 8)).shape == (3, 7)


def test_it_learns(tmp_path: Path) -> None:
    own = ("trusted_targets=[my_model]", "model=my_model")
    words = ("dataset.tasks=1", "epochs=5", "threads=1", f"output_root={tmp_path}")
    run = cl_runner.run(*own, *words, config_dir=OPTIONS)
    assert (run.metrics["average_accuracy"] or 0) > 0.9
