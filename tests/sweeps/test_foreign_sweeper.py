"""What a sweeper other than ours is given: the value on validation samples, or none."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import fmean
from types import ModuleType
from typing import Any, ClassVar

import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from sweep_folders import TINY

import hydra_plugins
from cl_runner.config import hydra_loader


class Foreign(Sweeper):
    """The smallest one there can be: one job, whose value it keeps."""

    values: ClassVar[list[Any]] = []

    def __init__(self, params: None) -> None:
        """Hydra gives it what our own sweeper takes."""

    def setup(self, *, hydra_context, task_function, config) -> None:
        given = {"hydra_context": hydra_context, "task_function": task_function, "config": config}
        self.launcher = Plugins.instance().instantiate_launcher(**given)

    def sweep(self, arguments: list[str]) -> None:
        (job,) = self.launcher.launch([arguments], initial_job_idx=0)
        self.values.append(job.return_value)


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> str:
    """The setting that chooses it. Our own loader would refuse it, since others write secrets."""
    module = ModuleType("hydra_plugins.foreign")
    module.Foreign = Foreign  # type: ignore[attr-defined]
    monkeypatch.setattr(hydra_plugins, "foreign", module, raising=False)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(Foreign, "__module__", module.__name__)
    monkeypatch.setattr(Foreign, "values", [])
    monkeypatch.setattr(hydra_loader, "SWEEPER", "hydra_plugins.foreign.Foreign")
    Plugins.instance().register(Foreign)
    return "hydra.sweeper._target_=hydra_plugins.foreign.Foreign"


@pytest.mark.parametrize(
    ("words", "records", "sign"),
    [
        (["dataset.validation_fraction=0.2"], "accuracy_validation", 1),
        (["dataset=regression_rbf", "dataset.validation_fraction=0.2"], "mse_validation", -1),
        ([], None, 0),
    ],
    ids=["accuracy", "error", "nothing held out"],
)
def test_a_sweeper_is_given_the_mean_on_validation_samples(
    foreign, cl_train_here, tmp_path: Path, words: list[str], records: str | None, sign: int
) -> None:
    """Read again from the last row of the records; less error is more. Without one: None."""
    done = cl_train_here("-m", *TINY, *words, "output_root=.", "name=run", foreign)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    expected = None if records is None else pytest.approx(sign * fmean(results[records][-1]))
    assert Foreign.values == [expected]
