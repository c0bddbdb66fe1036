"""Early stopping, against the results and weights of a run that goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from running import NAMES, composed, final_state, run_here
from torch import Tensor

from cl_runner.data.stream import Task
from cl_runner.evaluation.choice import evaluator_of
from cl_runner.strategies.finetune import Finetune
from cl_runner.training import loop
from cl_runner.training.early_stopping import EarlyStopping
from cl_runner.training.run import run

COMMON = ("threads=1", "dataset.tasks=2", "model.widths=[8]", "model.batch_norm=true",
          "batch_size=50", "optimizer.lr=0.02", "dataset.validation_fraction=0.3",
          "dataset.scenario=domain_incremental")  # fmt: skip
LINES = ("threads=1", "experiment=regression", "dataset.samples=20", "batch_size=5",
         "optimizer.lr=0.3", "dataset.validation_fraction=0.3", "evaluate_every=null")  # fmt: skip
EPOCHS = 12


class Noting(EarlyStopping):
    """Measures as it should, notes result and weights of each epoch, and never ends a task."""

    epochs: ClassVar[list[list[tuple[float, dict[str, Tensor]]]]] = []

    def after_epoch(self, task: Task) -> bool:
        value = self.evaluator.on(self.strategy, task.validation, task, task)
        weights = {k: v.clone() for k, v in self.strategy.network.state_dict().items()}
        if len(self.epochs) == task.index:
            self.epochs.append([])
        self.epochs[task.index].append((value, weights))
        return False


class Ends(Finetune):
    """Notes the weights with which each task ends."""

    weights: ClassVar[list[dict[str, Tensor]]] = []

    def end_task(self, task: Task) -> None:
        self.weights.append({k: v.clone() for k, v in self.network.state_dict().items()})


def expected_end(values: list[float], patience: int, sign: int) -> tuple[int, int]:
    """The last epoch and the best one, by reading all results: it ends with the first epoch whose
    `patience` last results are not above the best before them."""
    gains = [sign * value for value in values]
    for last in range(patience, len(gains)):
        before = gains[: last - patience + 1]
        if max(gains[last - patience + 1 : last + 1]) <= max(before):
            return last, before.index(max(before))
    return len(gains) - 1, gains.index(max(gains))


@pytest.mark.parametrize("patience", [1, 3, 50])
@pytest.mark.parametrize("data", ["classes", "regression"])
def test_a_task_ends_with_its_best_weights(
    data: str, patience: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common, sign = (COMMON, 1) if data == "classes" else (LINES, -1)
    stopping = (*common, f"epochs={EPOCHS}", f"early_stopping={patience}")
    with monkeypatch.context() as patch:
        patch.setattr(loop, "EarlyStopping", Noting)
        Noting.epochs.clear()
        run_here(tmp_path / "on", *common, f"epochs={EPOCHS}")
    settings = composed(*stopping)
    settings = replace(settings, strategy=replace(settings.strategy, target=Ends))
    Ends.weights.clear()
    results = run(settings, tmp_path / "run", config={}, names=NAMES)
    last, best = expected_end([value for value, _ in Noting.epochs[0]], patience, sign)
    expected = Noting.epochs[0][best][1]
    assert all(torch.equal(Ends.weights[0][key], expected[key]) for key in expected)
    assert (last < EPOCHS - 1) == (patience < 50)
    steps = [line for line in final_lines(tmp_path / "run") if line["task"] == 0]
    per_epoch = -(-results.tasks[0].train // (50 if data == "classes" else 5))
    assert steps[-1]["step"] == (last + 1) * per_epoch
    assert final_state(tmp_path / "run")["early_stopping"] == {
        "best": None, "since": 0, "weights": {}}  # fmt: skip


def final_lines(folder: Path) -> list[dict[str, Any]]:
    from running import logged

    return [line for line in logged(folder) if line["event"] == "evaluation"]


def test_what_it_has_saved_is_what_it_puts_back() -> None:
    """Another object, given its state, ends the task with the same weights."""
    settings = composed(*COMMON, "early_stopping=2")
    stream = settings.dataset.load(seed=0, scope="seen", device="cpu")
    network = settings.model((1, 8, 8), stream.outline.classes)
    network.fit_to(stream.outline, "seen")
    network.grow(stream.tasks[0])
    strategy = settings.strategy(network)
    first = EarlyStopping(2, strategy, evaluator_of(stream))
    first.after_epoch(stream.tasks[0])
    second = EarlyStopping(2, strategy, evaluator_of(stream))
    second.load_state_dict(first.state_dict())
    for p in network.parameters():
        p.data.zero_()
    second.end_task(stream.tasks[0])
    assert all(torch.equal(v, network.state_dict()[k]) for k, v in first.weights.items())
