"""What a run says before its first step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from running import NAMES, TINY, composed
from torch import Tensor

from cl_runner.data.batches import Batch
from cl_runner.data.stream import Task
from cl_runner.strategies.finetune import Finetune
from cl_runner.strategies.rehearsal import Rehearsal
from cl_runner.strategies.strategy import Strategy
from cl_runner.training import remarks
from cl_runner.training.run import build_strategy, run
from cl_runner.training.settings import Settings


class Misspelt(Finetune):
    def aftr_step(self, batch: Batch) -> None: ...

    def end_taks(self, task: Task) -> None: ...

    def end_task(self, task: Task) -> None: ...


class AnyName:
    """As some containers are: an attribute for whatever it is asked for."""

    def __getattr__(self, name: str) -> AnyName:
        return AnyName()


class WithMethodsOfItsOwn(Rehearsal):
    settings = AnyName()

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

    @torch.no_grad()
    def after_step(self, batch: Batch) -> None:
        self.after_steps(batch)
        assert [self.begin_tasks(number) for number in range(self.last)] == []

    def after_steps(self, batch: Batch) -> None:
        """Called by a decorated method."""

    def begin_tasks(self, number: int) -> None:
        """Called in a comprehension."""

    @property
    def last(self) -> int:
        return self.training_sizes()

    def training_sizes(self) -> int:
        """Called by a property."""
        return 0


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


FROZEN = ("model=resnet18", "model.width=2", "model.frozen=true")


def remarks_on(settings: Settings, caplog: pytest.LogCaptureFixture) -> list[str]:
    strategy = build_strategy(settings)
    caplog.set_level("INFO", "cl_runner")
    remarks.say(strategy, "slda", settings, settings.dataset.outline(0))
    return caplog.messages


@pytest.mark.parametrize("model", [["model.widths=[8]"], FROZEN])
def test_a_classifier_on_random_features_says_so(
    model: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    (said,) = remarks_on(composed("strategy=slda", *model), caplog)
    assert said.startswith("strategy slda does not train the body, and no weights were loaded")
    assert "Hint: model.weights=FILE" in said


@pytest.mark.parametrize("words", [
    ["strategy=slda", "model=wrapped"],  # the pixels themselves
    ["strategy=finetune"],
])  # fmt: skip
def test_features_that_are_not_random_need_no_words(
    words: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert remarks_on(composed(*words), caplog) == []


@pytest.mark.parametrize(("words", "said"), [
    (["dataset.tasks=3"], ["4 of the data set's 10 classes are in no task"]),
    (["dataset.tasks=2", "dataset.classes_per_task=[5,4]"],
     ["1 of the data set's 10 classes is in no task"]),
    (["dataset.scenario=domain_incremental"], []),
])  # fmt: skip
def test_classes_that_no_task_has_are_counted(
    words: list[str], said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert remarks_on(composed(*words), caplog) == said


def test_weights_of_the_users_need_no_words(caplog: pytest.LogCaptureFixture) -> None:
    """From a file, or loaded by a class of their own, perhaps."""
    settings = composed("strategy=slda", *FROZEN)
    strategy, outline, model = build_strategy(settings), settings.dataset.outline(0), settings.model
    read = replace(model, settings={**model.settings, "weights": "w.pt"})
    own = replace(model, target=remarks_on)
    for given in (read, own):
        remarks.say(strategy, "slda", replace(settings, model=given), outline)
    remarks.say(strategy, "slda", settings, replace(outline, features=True))
    assert caplog.messages == []
