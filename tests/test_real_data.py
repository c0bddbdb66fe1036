"""Short runs on the real data sets, each with a minimum accuracy. They run if CL_DATA is set."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from running import composed, run_here

from cl_runner.data import gtsrb

DATA = os.environ.get("CL_DATA", "")
pytestmark = pytest.mark.skipif(not Path(DATA, "MNIST").is_dir(), reason="CL_DATA is not set")
QUICK = ("epochs=1", "batch_size=128")


def learned(results: dict) -> list[float]:
    R = results[results["metrics_are_of"]]
    return [R[t][t] for t in range(len(R))]


def test_fashion_mnist_6_4_with_lwf(tmp_path: Path) -> None:
    results = run_here(tmp_path / "run", "dataset=fashion_mnist_6_4", "strategy=lwf", *QUICK)
    assert [(t["train"], t["test"]) for t in results["tasks"]] == [(36000, 6000), (24000, 4000)]
    assert [t["classes"] for t in results["tasks"]] == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9]]
    assert min(learned(results)) > 0.88
    assert results["alarms"] == []


def test_mnist_to_fashion_with_ewc(tmp_path: Path) -> None:
    common = ("dataset=mnist_to_fashion", *QUICK)
    ewc = run_here(tmp_path / "ewc", *common, "strategy=ewc")
    plain = run_here(tmp_path / "plain", *common)
    assert [(t["train"], t["test"]) for t in ewc["tasks"]] == [(60000, 10000)] * 2
    assert ewc["accuracy"][0] == plain["accuracy"][0]  # the first task is bit-equal
    assert learned(ewc)[0] > 0.94 and learned(plain)[1] > 0.6
    assert ewc["accuracy"][1][0] > plain["accuracy"][1][0] + 0.2  # it does hold on to MNIST
    assert ewc["accuracy_before_learning"][1] < 0.25


def test_split_mnist_forgets_class_incrementally_but_not_with_the_task_given(
    tmp_path: Path,
) -> None:
    """As in van de Ven & Tolias 2019: class-IL near 20 %, task-IL above 98 %."""
    common = ("dataset=split_mnist", *QUICK, "strategy=lwf")
    class_il = run_here(tmp_path / "class", *common, "strategy.t_squared=false")
    task_il = run_here(tmp_path / "task", *common, "dataset.scenario=task_incremental")
    assert 0.15 < class_il["average_accuracy"] < 0.35
    assert task_il["average_accuracy"] > 0.97


def test_permuted_mnist_learns_every_permutation(tmp_path: Path) -> None:
    results = run_here(tmp_path / "run", "dataset=permuted_mnist", "dataset.tasks=2", *QUICK)
    assert min(learned(results)) > 0.92


@pytest.mark.skipif(not Path(DATA, "gtsrb").is_dir(), reason="GTSRB is not there")
def test_gtsrb_with_rehearsal_and_distillation(tmp_path: Path) -> None:
    # Signs that differ in shape are learned in one epoch; speed limits would take more.
    order = [33, 34, 35, 38, 12, 13, 14, 17]
    results = run_here(tmp_path / "run", "dataset=gtsrb", f"dataset.class_order={order}",
                       "dataset.tasks=2", "dataset.classes_per_task=4", "model=cnn_leaky",
                       "model.channels=[16,32,32]", "optimizer.lr=0.002",
                       "strategy=rehearsal_kd", "epochs=1", "batch_size=32")  # fmt: skip
    assert [t["classes"] for t in results["tasks"]] == [order[:4], order[4:]]
    assert min(learned(results)) > 0.5
    assert results["accuracy"][1][0] > 0.4  # fine-tuning ends near 0


@pytest.mark.skipif(not Path(DATA, "gtsrb").is_dir(), reason="GTSRB is not there")
def test_gtsrb_is_complete_and_its_tracks_stay_together() -> None:
    dataset = composed("dataset=gtsrb_43", "dataset.validation_fraction=0.1").dataset
    stream = dataset.load(seed=0, scope="seen", device="cpu")
    assert sum(len(t.train) + len(t.validation) for t in stream.tasks) == 26_640
    assert sum(map(len, stream.test)) == 12_630
    tracks = [
        Path(path).parent.name + Path(path).stem.split("_")[0]
        for path, _ in gtsrb.list_samples(DATA, "train")
    ]
    for task in stream.tasks:
        kept = {tracks[i] for i in task.train.index.tolist()}
        held = {tracks[i] for i in task.validation.index.tolist()}
        assert held and not kept & held
