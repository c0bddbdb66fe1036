"""What W&B shows of a run is what its files say: counted again here, sample by sample."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from running import NAMES, composed, logged
from wandb_files import inspect

from cl_runner.measures import MEASURES
from cl_runner.report.render.drawings import Drawing
from cl_runner.run_folder.events import Step
from cl_runner.training.run import run
from cl_runner.wandb_mirror import wording
from cl_runner.wandb_mirror.mirror import learning_rates

pytestmark = pytest.mark.usefixtures("no_wandb_account")
OWN = "among the task's own classes (%)"
EPOCHS, LR = 2, 0.01


@pytest.fixture
def mirrored(tmp_path: Path) -> Path:
    """A run of two tasks, with a rate that falls within each and evaluations within tasks."""
    settings = composed("tracker=wandb", "strategy=ewc", f"epochs={EPOCHS}", "model.widths=[8]",
                        "dataset.tasks=2", "batch_size=64", "log_every=1", "scheduler=cosine",
                        f"optimizer.lr={LR}", "optimizer.head_lr=0.02", "evaluate_every=epoch",
                        "threads=1")  # fmt: skip
    run(settings, tmp_path / "run", config={}, names={**NAMES, "strategy": "ewc"})
    return tmp_path / "run"


def test_the_panels_of_a_run_say_what_its_samples_say(mirrored: Path) -> None:
    """Accuracies, confusions and the parts of what was lost, from labels and predictions alone."""
    arrays = dict(np.load(mirrored / "predictions.npz"))
    history = [r["history"]["item"] for r in inspect(mirrored) if r["type"] == "history"]
    (summary,) = inspect(mirrored, "--summary")
    keys = {key for item in history for key in item}
    shown = {key: [item[key] for item in history if key in item] for key in keys}

    def share(after: int, task: int, ending: str = "") -> float:
        called = arrays[f"after_task_{after}_on_task_{task}{ending}"].tolist()
        labels = arrays[f"labels_of_task_{task}"].tolist()
        return sum(a == b for a, b in zip(called, labels, strict=True)) / len(labels)

    first, later, second = share(1, 1), share(2, 1), share(2, 2)
    assert shown["Accuracy on task 1 (%)"] == pytest.approx([100 * first, 100 * later])
    assert shown["Accuracy on task 2 (%)"] == pytest.approx([100 * second])
    means = [100 * first, 50 * (later + second)]
    assert shown["Accuracy, mean of the tasks so far (%)"] == pytest.approx(means)
    own = [100 * share(1, 1, "_task_il"), 100 * share(2, 1, "_task_il")]
    assert shown[f"Accuracy on task 1 {OWN}"] == pytest.approx(own)
    assert own[1] > 100 * later  # so the two cannot be mistaken for one another
    at = [item["task"] for item in history if f"Accuracy on task 1 {OWN}" in item]
    assert at == [1, 2]
    within = [e["accuracy"][0] for e in logged(mirrored) if e["event"] == "within_task"]
    assert len(within) == 2 * EPOCHS
    told = shown["While learning: accuracy on task 1 (%)"]
    assert told == pytest.approx([100 * value for value in within])

    hidden = (own[1] / 100 - later) - (own[0] / 100 - first)
    final = summary["summary"]
    assert final["lost"] == pytest.approx(first - later) and final["lost"] > 0.1
    assert final["lost_hidden"] == pytest.approx(hidden)
    assert final["lost_features_and_head"] == pytest.approx((own[0] - own[1]) / 100)

    counts: dict[tuple[str, str], int] = {}
    for task in (1, 2):
        pairs = arrays[f"labels_of_task_{task}"], arrays[f"after_task_2_on_task_{task}"]
        for a, b in zip(*(one.tolist() for one in pairs), strict=True):
            counts[str(a), str(b)] = counts.get((str(a), str(b)), 0) + 1
    cells = table(mirrored, shown, "Confusion matrix_table")
    assert {(a, b): n for a, b, n in cells if n} == counts
    rows = table(mirrored, shown, "Accuracy matrix (%)")
    expected = [[1, 100 * first, None], [2, 100 * later, 100 * second]]
    assert [v for row in rows for v in row] == pytest.approx([v for r in expected for v in r])
    ((_, _, *numbers),) = table(mirrored, shown, "What was lost")
    assert numbers[:3] == pytest.approx([100 * v for v in (first, later, first - later)], abs=0.06)

    steps = len(shown["Learning rate"])
    cosine = [LR * (1 + math.cos(math.pi * n / (steps / 2))) / 2 for n in range(steps // 2)]
    assert shown["Learning rate"] == pytest.approx(2 * cosine)
    assert shown["Learning rate of the head"] == pytest.approx([2 * rate for rate in 2 * cosine])

    names = {key.partition(".")[0].removesuffix("_table") for key in keys if key[0] != "_"}
    words = names - {"step", "task"}  # the axes
    assert len(words) > 10
    assert [name for name in words if "/" in name or "_" in name or not name[0].isupper()] == []


def table(folder: Path, shown: dict[str, list], title: str) -> list[list]:
    """The rows of a table."""
    (name,) = shown[f"{title}.path"]
    (file,) = (folder / "wandb").glob(f"offline-run-*/files/{name}")
    return json.loads(file.read_text())["data"]


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        (0.1, {"Learning rate": 0.1}),
        ([0.1, 0.01], {"Learning rate": 0.01}),
        ("<env:RATE>", {}),
        (None, {}),
    ],
)
def test_a_constant_rate_is_that_of_the_settings(setting, told) -> None:
    """Also where it is masked, and with an optimizer that has none."""
    step = Step(task=2, epoch=0, step=5, loss=1.0, terms={})
    assert learning_rates(step, {"lr": setting}) == told
    assert learning_rates(step, None) == {}


def test_errors_have_no_percent_and_settings_are_named() -> None:
    assert wording.on_task(MEASURES["mse"], 0) == "Mean squared error on task 1"
    drawn = Drawing("sensitivity_1_ewc_strategy_weight", "", None)  # type: ignore[arg-type]
    assert wording.figure(drawn) == "Effect of ewc strategy weight"
