"""`reference=`: intransigence needs a run that was tested on the same samples."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from running import composed, run_here

from cl_runner.data.digits import Digits
from cl_runner.data.source import Split
from cl_runner.errors import ConfigError
from cl_runner.metrics import Matrix
from cl_runner.training.reference import matrix_of

FAST = ("epochs=1", "batch_size=64", "model.widths=[16]")
PERMUTED = (
    "dataset=permuted_mnist",
    "dataset.tasks=2",
    "dataset.source={_target_: cl_runner.data.digits.Digits}",
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four complete runs to compare others with."""
    folder = tmp_path_factory.mktemp("references")
    run_here(folder / "joint", *FAST, "strategy=joint")
    run_here(folder / "random", *FAST, "dataset.class_order=random", "seed=3")
    run_here(folder / "permuted", *FAST, *PERMUTED)
    run_here(folder / "regression", *FAST, "experiment=regression", "dataset.samples=20")
    return folder


def compared(reference: Path, *overrides: str) -> Matrix | None:
    settings = composed(f"reference={reference}", *overrides)
    stream = settings.dataset.load(seed=settings.seed, scope=settings.ce_scope, device="cpu")
    return matrix_of(settings, stream)


def refusal(reference: Path, *overrides: str) -> str:
    """The error, which is one line."""
    with pytest.raises(ConfigError) as error:
        compared(reference, *overrides)
    text = str(error.value)
    assert text.startswith(f"config error: reference={reference}: ") and "\n" not in text
    return text


DIFFERENT = {
    "scenario": (
        "joint", ["dataset.scenario=task_incremental"],
        "scenario: class_incremental there, task_incremental here",
    ),
    "scenario, with shared classes": (
        "joint", ["dataset.scenario=domain_incremental"],
        "scenario: class_incremental there, domain_incremental here",
    ),
    "number of tasks": ("joint", ["dataset.tasks=4"], "number of tasks: 5 there, 4 here"),
    "classes of a task": (
        "joint", ["dataset.classes_per_task=[2,3,1,2,2]"],
        "classes of task 2: [2, 3] there, [2, 3, 4] here",
    ),
    "order of classes": (
        "joint", ["dataset.class_order=[1,0,2,3,4,5,6,7,8,9]"],
        "classes of task 1: [0, 1] there, [1, 0] here",
    ),
    "order of classes, by the seed": (
        "random", ["dataset.class_order=random", "seed=4"], "classes of task 1: [",
    ),
    "test samples, by the seed": (
        "permuted", [*PERMUTED, "seed=1"], "SHA-256 of the test samples of task 2: ",
    ),
    "regression there": ("regression", [], "scenario: regression there, class_incremental here"),
}  # fmt: skip


@pytest.mark.parametrize("difference", DIFFERENT)
def test_a_run_that_was_tested_on_something_else_is_refused(difference: str, runs: Path) -> None:
    name, overrides, words = DIFFERENT[difference]
    assert words in refusal(runs / name, *overrides)


def test_regression_has_no_intransigence(runs: Path) -> None:
    text = refusal(runs / "regression", "experiment=regression", "dataset.samples=20")
    assert "a difference of accuracies" in text


def test_another_number_of_test_samples_is_refused(runs: Path, monkeypatch) -> None:
    change_the_test_split(monkeypatch, lambda test: Split(test.images[1:], test.labels[1:]))
    assert "number of test samples of task" in refusal(runs / "joint")


def test_other_pictures_under_the_same_name_are_refused(runs: Path, monkeypatch) -> None:
    change_the_test_split(monkeypatch, lambda test: Split(255 - test.images, test.labels))
    assert "SHA-256 of the test samples of task 1:" in refusal(runs / "joint")


def test_other_labels_of_the_same_pictures_are_refused(runs: Path, monkeypatch) -> None:
    def exchanged(test: Split) -> Split:
        labels = test.labels.clone()
        one, other = ((labels == label).nonzero()[0] for label in (0, 1))
        labels[one], labels[other] = 1, 0
        return Split(test.images, labels)

    change_the_test_split(monkeypatch, exchanged)
    assert "SHA-256 of the test samples of task 1:" in refusal(runs / "joint")


def change_the_test_split(monkeypatch: pytest.MonkeyPatch, change) -> None:
    load = Digits.load

    def changed(self: Digits, root: str) -> tuple[Split, Split]:
        train, test = load(self, root)
        return train, change(test)

    monkeypatch.setattr(Digits, "load", changed)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (
            "metrics_are_of",
            "accuracy_task_il",
            "kind of metric: accuracy_task_il there, accuracy here",
        ),
        ("conventions", {}, "is not the folder of a finished run: conventions: lacks scenario"),
        ("conventions", {"scenario": "x"}, "scenario: x there, class_incremental here"),
        ("tasks", {"test_sha256": "0" * 64}, "SHA-256 of the test samples of task 1: 000"),
        ("tasks", {"classes": [0] * 999}, "classes of task 1: [0, 0, "),
        ("accuracy", [[1.0]], "is not the folder of a finished run: "),
    ],
)
def test_a_foreign_results_file_is_compared_too(
    key: str, value, words: str, runs: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(runs / "joint", tmp_path / "theirs")
    results = json.loads((folder / "results.json").read_text())
    results[key] = [task | value for task in results[key]] if key == "tasks" else value
    (folder / "results.json").write_text(json.dumps(results))
    text = refusal(folder)
    assert words in text and len(text) < 500


def test_what_says_how_it_learned_may_differ(runs: Path) -> None:
    """So may the seed, if the tasks do not depend on it, and the preparation of the pictures."""
    expected = json.loads((runs / "joint" / "results.json").read_text())["accuracy"]
    for overrides in (
        ["strategy=ewc", "strategy.weight=7"], ["model.widths=[5]"], ["optimizer=sgd"],
        ["optimizer.lr=[0.1,0.2]"], ["epochs=[3,1]", "batch_size=7"], ["seed=5"],
        ["dataset.validation_fraction=0.2"], ["dataset.pixels.mean=[0.3]"], ["ce_scope=all"],
    ):  # fmt: skip
        assert compared(runs / "joint", *overrides) == expected, overrides
    assert compared(runs / "random", "dataset.class_order=random", "seed=3") is not None
    assert compared(runs / "permuted", *PERMUTED, "strategy=lwf") is not None


def test_the_order_that_a_seed_has_drawn_may_be_spelled_out(runs: Path) -> None:
    tasks = json.loads((runs / "random" / "results.json").read_text())["tasks"]
    order = [label for task in tasks for label in task["classes"]]
    assert compared(runs / "random", f"dataset.class_order={order}".replace(" ", "")) is not None


def test_a_refusal_is_one_line_and_leaves_nothing(runs: Path, cl_train_here, tmp_path) -> None:
    found = cl_train_here(*FAST, f"reference={runs / 'joint'}", "dataset.tasks=4")
    assert found.returncode == 2 and not list(tmp_path.iterdir())
    (line,) = found.stderr.splitlines()
    assert (
        "number of tasks: 5 there, 4 here. Hint: use a run with the same dataset= settings" in line
    )
