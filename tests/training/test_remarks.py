"""What a run says before its first step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from running import NAMES, TINY, composed
from torch import Tensor

from cl_runner.data.batches import Batch
from cl_runner.data.stream import Task
from cl_runner.strategies.finetune import Finetune
from cl_runner.strategies.rehearsal import Rehearsal
from cl_runner.strategies.strategy import Strategy
from cl_runner.training import remarks
from cl_runner.training.run import run


class Misspelt(Finetune):
    def aftr_step(self, batch: Batch) -> None: ...

    def end_taks(self, task: Task) -> None: ...

    def end_task(self, task: Task) -> None: ...


class WithMethodsOfItsOwn(Rehearsal):
    def end_task(self, task: Task) -> None:
        self.end_tasks(task)

    def end_tasks(self, task: Task) -> None:
        """It calls this one itself."""

    def train(self, mode: bool = True) -> WithMethodsOfItsOwn:
        """Of nn.Module, and near to nothing."""
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        return x

    def _end_taks(self) -> None:
        """Not public."""

    def quantile(self) -> None:
        """Near to no hook."""


def test_a_misspelt_hook_is_named_before_training(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    settings = composed(*TINY, "threads=1", "dataset.tasks=1")
    settings = replace(settings, strategy=replace(settings.strategy, target=Misspelt))
    run(settings, tmp_path / "run", config={}, names=NAMES)
    text = (tmp_path / "run" / "log.txt").read_text()
    said = "strategy Misspelt: method {} is no hook, so cl-runner does not call it. Hint: did you"
    for wrong, right in (("aftr_step", "after_step"), ("end_taks", "end_task")):
        assert f"{said.format(wrong)} mean {right}?" in text
    assert text.index("aftr_step") < text.index("task 1")


@pytest.mark.parametrize("known", [WithMethodsOfItsOwn, Rehearsal, Finetune])
def test_other_methods_are_left_alone(known: type[Strategy]) -> None:
    assert list(remarks._misspelt_hooks(known)) == []
