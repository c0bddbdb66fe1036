"""`diagnose=probe`: networks that lost one thing only; nothing in training changes."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from running import final_state, logged, run_here
from tiny import SHAPE, by_twos, tiny_stream
from torch import Tensor, nn

from cl_runner.data.digits import Digits
from cl_runner.data.source import Split
from cl_runner.data.stream import Stream
from cl_runner.evaluation import probe
from cl_runner.evaluation.probe import Probe
from cl_runner.forgetting import Course, course
from cl_runner.models.network import Network
from cl_runner.run_folder import read
from cl_runner.strategies.finetune import Finetune


class Nearest(nn.Module):
    """The class whose mean is nearest, as one of six features; `merged`, one of each pair of
    classes stands for both."""

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        train = [task.train for task in stream.tasks]
        x, y = torch.cat([s.x.flatten(1) for s in train]), torch.cat([s.y for s in train])
        self.means = torch.stack([x[y == c].mean(0) for c in range(6)])
        self.merged = False

    def forward(self, x: Tensor) -> Tensor:
        nearest = torch.cdist(x.flatten(1), self.means).argmin(1)
        return nn.functional.one_hot(nearest // 2 * 2 if self.merged else nearest, 6).float()


def with_validation(scenario: str = "class_incremental") -> Stream:
    stream = tiny_stream(scenario)
    tasks = [replace(t, validation=stream.test[t.index]) for t in stream.tasks]
    return replace(stream, tasks=tasks)


def perfect(stream: Stream) -> Network:
    network = by_twos(Network(Nearest(stream), SHAPE, 6, 6, init="default", new_rows="zero"))
    with torch.no_grad():
        for task in stream.tasks:
            network.grow(task)
            network.classifier.weights[task.index].copy_(10 * torch.eye(6)[task.classes])
            network.classifier.biases[task.index].zero_()
    return network


def hides_old_classes(network: Network) -> None:
    network.classifier.biases[2].fill_(100)


def confuses_old_classes(network: Network) -> None:
    rows = network.classifier.weights[0]
    rows.copy_(rows.flip(0))


def loses_features(network: Network) -> None:
    network.body.merged = True  # type: ignore[union-attr]


def course_when(stream: Stream, changed, scenario: str = "class_incremental") -> Course:
    """Of a perfect network to which something happens in the last task."""
    network, diagnosis = perfect(stream), Probe("probe", stream)
    for task in stream.tasks:
        if task.index == 2:
            with torch.no_grad():
                changed(network)
        diagnosis.after_task(Finetune(network), task)
    own = [task.classes for task in stream.tasks]
    named = scenario == "task_incremental"
    return course(diagnosis.arrays(), own, shared=False, named=named)


@pytest.mark.parametrize(
    ("changed", "task", "part", "size"),
    [
        (hides_old_classes, 0, "hidden", 1.0),
        (hides_old_classes, 1, "hidden", 1.0),
        (confuses_old_classes, 0, "head", 1.0),
        (loses_features, 0, "features", 0.5),
        (loses_features, 1, "features", 0.5),
        (lambda network: None, 0, "hidden", 0.0),
    ],
)
def test_a_network_that_lost_one_thing_only(changed, task, part, size) -> None:
    parts = course_when(with_validation(), changed).parts(2, task)
    assert vars(parts) == {"features": 0, "head": 0, "hidden": 0} | {part: size}
    assert parts.loss == size


def test_if_the_task_is_named_no_class_is_hidden() -> None:
    stream = with_validation("task_incremental")
    assert course_when(stream, hides_old_classes, "task_incremental").lost.loss == 0


def test_a_refitted_head_sees_a_few_samples_of_all_tasks(monkeypatch) -> None:
    monkeypatch.setattr(probe, "MOST_SAMPLES", 60)
    stream = with_validation()
    features, labels = Probe("probe", stream)._fitted_on(Finetune(perfect(stream)), stream.tasks[2])
    assert features.shape == (60, 6) and set(labels) == set(range(6))
    assert (features.argmax(1) == labels).all()
    again = Probe("probe", stream)._fitted_on(Finetune(perfect(stream)), stream.tasks[2])
    assert np.array_equal(again[0], features)


def test_a_single_class_is_always_told() -> None:
    head = probe._Head(np.ones((3, 2)), np.zeros(3, dtype=int), 1)
    assert head.scores(np.zeros((4, 2))).argmax(1).tolist() == [0] * 4


def test_the_head_is_a_minimum_of_its_loss() -> None:
    """The gradient of Σ −log p(y) + ‖W‖² / 2C is zero, worked out by hand."""
    draw = np.random.default_rng(0)
    y = np.arange(300) % 3
    x = draw.normal(size=(300, 4)) + y[:, None] * np.array([1.0, -1, 0, 0])
    head = probe._Head(x, y, 3)
    p = np.exp(head.scores(x))
    assert p.sum(1) == pytest.approx(1)
    standard = (x - x.mean(0)) / x.std(0)
    pull = (p - np.eye(3)[y]).T @ standard + head.model.coef_ / probe.STRENGTH
    assert np.abs(pull).max() < 0.1 < np.abs((1 / 3 - np.eye(3)[y]).T @ standard).max()


COMMON = ("epochs=1", "batch_size=64", "model.widths=[16]", "model.batch_norm=true",
          "dataset.tasks=3", "dataset.validation_fraction=0.2")  # fmt: skip


def test_diagnosing_changes_nothing_in_training(tmp_path: Path) -> None:
    """Same bits; and the run's own predictions are those of its row of the validation matrix."""
    plain = run_here(tmp_path / "plain", *COMMON, "strategy=rehearsal_kd")
    probed = run_here(tmp_path / "probed", *COMMON, "strategy=rehearsal_kd", "diagnose=probe")
    for name in ("metrics.jsonl", "predictions.npz"):
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "probed" / name).read_bytes()
    states = [final_state(tmp_path / name) for name in ("plain", "probed")]
    for part in ("strategy", "optimizer", "generators"):
        saved = [io.BytesIO(), io.BytesIO()]
        for file, state in zip(saved, states, strict=True):
            torch.save(state[part], file)
        assert saved[0].getvalue() == saved[1].getvalue(), part
    assert {**plain, "cost": {}} == {**probed, "cost": {}}
    assert not (tmp_path / "plain" / "probe.npz").exists()
    results = read.results(tmp_path / "probed")
    found = read.course_of(tmp_path / "probed", results, read.PROBE)
    rows = [[shares.right for shares in row] for row in found.shares]
    assert rows == [[v for v in row if v is not None] for row in probed["accuracy_validation"]]
    assert len(logged(tmp_path / "probed")) > 3


def test_no_test_sample_has_a_part_in_it(tmp_path: Path, monkeypatch) -> None:
    run_here(tmp_path / "clean", *COMMON, "diagnose=probe")
    load = Digits.load

    def poisoned(self, root):
        train, test = load(self, root)
        return train, Split(255 - test.images, test.labels.roll(1))

    monkeypatch.setattr(Digits, "load", poisoned)
    run_here(tmp_path / "poisoned", *COMMON, "diagnose=probe")
    clean, other = (np.load(tmp_path / name / "probe.npz") for name in ("clean", "poisoned"))
    assert all(np.array_equal(clean[key], other[key]) for key in clean.files)
