"""Another Hydra sweeper gets the validation value of each job, and never one of test data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import fmean

import pytest

FOREIGN = """
import json
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper


class Foreign(Sweeper):
    def __init__(self, params=None):
        pass

    def setup(self, *, hydra_context, task_function, config):
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments):
        jobs = [[*arguments, f"seed={seed}", f"name=job{seed}"] for seed in (0, 1)]
        returned = [job.return_value for job in self.launcher.launch(jobs, initial_job_idx=0)]
        with open("returned.json", "w") as file:
            json.dump(returned, file)
"""
ALLOWED = """
from cl_runner import train
from cl_runner.config import hydra_loader

# Others are refused: most write all settings to a file, secrets included.
hydra_loader.SWEEPER = "hydra_plugins.foreign_sweeper.Foreign"
train.main()
"""
SWEEPER = "hydra.sweeper._target_=hydra_plugins.foreign_sweeper.Foreign"


@pytest.mark.parametrize(
    ("held_out", "words"),
    [
        (True, ["dataset.validation_fraction=0.25"]),
        (
            True,
            ["dataset=regression_rbf", "dataset.samples=30", "dataset.validation_fraction=0.25"],
        ),
        (False, []),
    ],
    ids=["accuracy", "regression", "nothing held out"],
)
def test_a_foreign_sweeper_gets_the_validation_value(
    held_out: bool, words: list[str], tmp_path: Path
) -> None:
    plugins = tmp_path / "hydra_plugins"
    plugins.mkdir()
    (plugins / "foreign_sweeper.py").write_text(FOREIGN)
    command = [sys.executable, "-c", ALLOWED, "-m", SWEEPER,
               "hydra/launcher=basic", "epochs=1", "model.widths=[4]", "threads=1",
               "output_root=.", *words]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    returned = json.loads((tmp_path / "returned.json").read_text())
    if not held_out:
        assert returned == [None, None]
        return
    for seed, value in enumerate(returned):
        results = json.loads((tmp_path / f"job{seed}" / "results.json").read_text())
        if results.get("mse_validation"):
            assert value == pytest.approx(-fmean(results["mse_validation"][-1]))
        else:
            assert value == pytest.approx(fmean(results["accuracy_validation"][-1]))
