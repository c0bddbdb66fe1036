"""Metrics against a brute-force oracle and numbers worked out by hand; no leak from test data."""

from __future__ import annotations

import io
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from planted_runs import outcome
from running import composed, run_here
from tiny import tiny_network, tiny_stream
from torch import nn

from cl_runner import metrics
from cl_runner.data.digits import Digits
from cl_runner.data.source import Split
from cl_runner.errors import Diverged
from cl_runner.evaluation import predict as evaluation
from cl_runner.evaluation.accuracy import Accuracy
from cl_runner.evaluation.predict import predict
from cl_runner.metrics import Matrix
from cl_runner.run_folder.checkpoint import unpacked
from cl_runner.strategies.finetune import Finetune
from cl_runner.strategies.strategy import Strategy

share = st.floats(0, 1)


@st.composite
def matrices(draw: st.DrawFn) -> Matrix:
    tasks = draw(st.integers(1, 6))
    return [[draw(share) if k <= t else None for k in range(tasks)] for t in range(tasks)]


def oracle(R: Matrix) -> dict[str, float | None]:
    """Every metric written out with loops."""
    T = len(R)
    incremental, forgotten, transferred, learned = 0.0, 0.0, 0.0, 0.0
    for t in range(T):
        row = 0.0
        for k in range(t + 1):
            row += R[t][k]
        incremental += row / (t + 1) / T
        learned += R[t][t] / T
    for k in range(T - 1):
        best = -1.0
        for t in range(T - 1):
            if t >= k and R[t][k] > best:
                best = R[t][k]
        forgotten += (best - R[T - 1][k]) / (T - 1)
        transferred += (R[T - 1][k] - R[k][k]) / (T - 1)
    return {
        "average_accuracy": sum(R[T - 1]) / T,
        "average_incremental_accuracy": incremental,
        "learning_accuracy": learned,
        "forgetting": forgotten if T > 1 else None,
        "backward_transfer": transferred if T > 1 else None,
    }


@given(matrices())
def test_metrics_equal_the_oracle(R: Matrix) -> None:
    for name, expected in oracle(R).items():
        found = getattr(metrics, name)(R)
        assert found == (None if expected is None else pytest.approx(expected, abs=1e-12)), name
    if len(R) > 1:
        assert metrics.forgetting(R) >= -metrics.backward_transfer(R) - 1e-12


HAND: Matrix = [[0.9, None, None], [0.6, 0.8, None], [0.7, 0.5, 1.0]]


def test_hand_worked_numbers() -> None:
    assert metrics.forgetting(HAND) == pytest.approx((0.2 + 0.3) / 2)
    assert metrics.backward_transfer(HAND) == pytest.approx((-0.2 - 0.3) / 2)
    assert metrics.average_accuracy(HAND) == pytest.approx(2.2 / 3)
    assert metrics.overall_accuracy(HAND, [100, 100, 800]) == pytest.approx(0.92)
    assert metrics.average_incremental_accuracy(HAND) == pytest.approx((0.9 + 0.7 + 2.2 / 3) / 3)
    # After each task 90 of 100, 60 + 80 of 200, 70 + 50 + 800 of 1000 are right.
    found = metrics.overall_incremental_accuracy(HAND, [100, 100, 800])
    assert found == pytest.approx((0.9 + 0.7 + 0.92) / 3)
    assert metrics.learning_accuracy(HAND) == pytest.approx(0.9)
    ideal: Matrix = [[1.0, None, None], [1.0, 0.9, None], [1.0, 1.0, 1.0]]
    assert metrics.intransigence(HAND, ideal) == pytest.approx((0.1 + 0.1 + 0.0) / 3)
    assert metrics.forward_transfer([None, 0.3, 0.2], [0.1, 0.1, 0.1]) == pytest.approx(0.15)
    assert metrics.forward_transfer([], []) is None


def test_forgetting_counts_from_the_best_earlier_row_not_from_the_diagonal() -> None:
    R: Matrix = [[0.5, None, None], [0.9, 0.5, None], [0.6, 0.5, 0.5]]
    assert metrics.forgetting(R) == pytest.approx(0.15)
    assert metrics.backward_transfer(R) == pytest.approx(0.05)


def test_the_stability_gap_sees_what_happens_within_tasks() -> None:
    R: Matrix = [[0.9, None], [0.8, 0.7]]
    curve = [(0, [0.4]), (0, [0.9]), (1, [0.2, 0.1]), (1, [0.6, 0.5]), (1, [0.8, 0.7])]
    assert metrics.min_accuracy(curve) == pytest.approx(0.2)
    assert metrics.stability_gap(R, curve) == pytest.approx(0.7)


class Oracle(Strategy):
    """Knows the class of each picture: a perfect model, or one that follows a fixed rule."""

    def __init__(self, stream, answer) -> None:
        super().__init__(nn.Identity())
        samples = [s for test in stream.test for s in zip(test.x, test.y.tolist(), strict=True)]
        self.known = {x.numpy().tobytes(): answer(y) for x, y in samples}

    def objective(self, batch):
        raise NotImplementedError

    def predict(self, x):
        labels = torch.tensor([self.known[one.numpy().tobytes()] for one in x])
        return nn.functional.one_hot(labels, 6).float()


@pytest.mark.parametrize("scenario", ["class_incremental", "task_incremental"])
def test_a_perfect_oracle_scores_one_on_every_task(scenario: str) -> None:
    stream = tiny_stream(scenario)
    evaluator = Accuracy(stream)
    for task in stream.tasks:
        assert evaluator.after_task(Oracle(stream, lambda y: y), task) == [1.0] * (task.index + 1)
    metrics = outcome(**evaluator.results(None)).metrics
    assert metrics["average_accuracy"] == 1 and metrics["forgetting"] == 0


@pytest.mark.parametrize("scenario", ["class_incremental", "domain_incremental"])
def test_predictions_go_through_a_saved_state(scenario: str) -> None:
    """After each task another evaluator takes over; all are there in the end, as classes."""
    stream = tiny_stream(scenario)
    network = tiny_network(2 if scenario == "domain_incremental" else 6)
    whole, taken_over = Accuracy(stream), Accuracy(stream)
    expected = {}
    for task in stream.tasks:
        network.grow(task)
        whole.after_task(Finetune(network), task)
        taken_over.after_task(Finetune(network), task)
        for number, tested in enumerate(stream.tasks[: task.index + 1], start=1):
            each = predict(Finetune(network), stream.test[tested.index], tested, task.seen)
            key = f"after_task_{task.index + 1}_on_task_{number}"
            expected |= {key: each.among_seen, f"{key}_task_il": each.among_own}
        file = io.BytesIO()
        torch.save(taken_over.state_dict(), file)
        assert len(file.getvalue()) < 30_000  # of the block what is used
        file.seek(0)
        taken_over = Accuracy(stream)
        taken_over.load_state_dict(torch.load(file, weights_only=True))
    for number, test in enumerate(stream.test, start=1):
        expected[f"labels_of_task_{number}"] = test.y
    for evaluator in (whole, taken_over):
        found = evaluator.arrays()
        assert found.keys() == expected.keys()
        for key, values in expected.items():
            assert found[key].dtype == "int16" and found[key].tolist() == values.tolist(), key


def test_class_numbers_that_do_not_fit_in_a_byte_are_kept() -> None:
    stream = tiny_stream(tasks=150, samples=2)
    evaluator = Accuracy(stream)
    answers = Oracle(stream, lambda y: 0)
    answers.predict = lambda x: torch.eye(300)[299].expand(len(x), -1)
    evaluator.after_task(answers, stream.tasks[149])
    assert set(evaluator.arrays()["after_task_150_on_task_1"].tolist()) == {299}


def test_class_and_task_incremental_accuracy_come_from_the_same_scores() -> None:
    stream = tiny_stream()
    # The right class within its pair is second best; a class of another task wins overall.
    strategy = Oracle(stream, lambda y: y)
    exact = strategy.predict
    strategy.predict = lambda x: exact(x) + 2 * exact(x).roll(2, 1)
    evaluator = Accuracy(stream)
    for task in stream.tasks:
        evaluator.after_task(strategy, task)
    results = evaluator.results(None)
    assert results["accuracy"][-1] == [0.0, 0.0, 0.0]
    assert results["accuracy_task_il"][-1] == [1.0, 1.0, 1.0]
    assert results["metrics_are_of"] == "accuracy"


def test_task_incremental_metrics_are_of_its_own_matrix() -> None:
    stream = tiny_stream("task_incremental")
    evaluator = Accuracy(stream)
    for task in stream.tasks:
        evaluator.after_task(Oracle(stream, lambda y: y ^ 1), task)
    results = outcome(**evaluator.results(None))
    assert results.metrics_are_of == "accuracy_task_il"
    assert results.metrics["average_accuracy"] == 0


def test_metrics_that_do_not_apply_are_none() -> None:
    stream = tiny_stream(tasks=1)
    evaluator = Accuracy(stream)
    evaluator.after_task(Oracle(stream, lambda y: y), stream.tasks[0])
    results = outcome(**evaluator.results(None))
    assert results.accuracy_validation is None
    for name in ("forgetting", "backward_transfer", "forward_transfer", "intransigence",
                 "min_accuracy", "stability_gap"):  # fmt: skip
        assert results.metrics[name] is None, name


@pytest.mark.parametrize("training", [True, False])
def test_evaluating_changes_nothing_in_training(training: bool) -> None:
    stream, strategy = tiny_stream(), Finetune(tiny_network(batch_norm=True))
    strategy.network.grow(stream.tasks[0])
    strategy.train()
    strategy.network(stream.tasks[0].train.x)  # statistics that are not the first ones
    strategy.train(training)
    state = {name: value.clone() for name, value in strategy.state_dict().items()}
    generators = torch.get_rng_state()
    Accuracy(stream).after_task(strategy, stream.tasks[0])
    assert strategy.training == strategy.network.training == training
    assert torch.equal(torch.get_rng_state(), generators)
    assert all(torch.equal(v, state[name]) for name, v in strategy.state_dict().items())


@pytest.mark.parametrize("size", [1, 7, 256])
def test_predictions_do_not_depend_on_batch_or_order(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, strategy = tiny_stream(), Finetune(tiny_network(batch_norm=True, new_rows="default"))
    for task in stream.tasks:
        strategy.network.grow(task)
    samples, task = stream.test[1], stream.tasks[1]
    expected = predict(strategy, samples, task, 6)
    order = torch.randperm(len(samples))
    monkeypatch.setattr(evaluation, "CHUNK", size)
    found = predict(strategy, samples[order], task, 6)
    assert torch.equal(found.among_seen, expected.among_seen[order])
    assert torch.equal(found.among_own, expected.among_own[order])


def test_a_dead_model_is_not_right_about_class_0() -> None:
    stream, strategy = tiny_stream(), Finetune(tiny_network())
    strategy.network.grow(stream.tasks[0])
    with torch.no_grad():
        strategy.network.classifier.weights[0].fill_(torch.nan)
    with pytest.raises(Diverged, match="task 1"):
        predict(strategy, stream.test[0], stream.tasks[0], 2)


def test_a_mixture_of_all_tasks_is_predicted_as_each_task_is() -> None:
    """Class-incremental: no task is named at test time, so which samples come together is nothing
    to the predictions."""
    stream, strategy = tiny_stream(), Finetune(tiny_network(batch_norm=True, new_rows="default"))
    for task in stream.tasks:
        strategy.network.grow(task)
    apart = [
        predict(strategy, samples, task, 6).among_seen
        for samples, task in zip(stream.test, stream.tasks, strict=True)
    ]
    mixture = stream.test[0] + stream.test[1] + stream.test[2]
    order = torch.randperm(len(mixture))
    mixed = predict(strategy, mixture[order], stream.tasks[0], 6).among_seen
    assert torch.equal(mixed, torch.cat(apart)[order])
    assert len(mixed.unique()) > 1


def test_training_validation_and_test_samples_are_apart() -> None:
    """No picture is, bit for bit, in two of the splits (no two digits are equal)."""
    dataset = composed("dataset=digits", "dataset.validation_fraction=0.2").dataset
    stream = dataset.load(seed=0, scope="seen", device="cpu")
    parts = [
        [task.train for task in stream.tasks],
        [t.validation for t in stream.tasks],
        stream.test,
    ]
    pictures = [
        picture.numpy().tobytes() for part in parts for samples in part for picture in samples.raw
    ]
    assert len(pictures) == len(set(pictures)) == 1797
    assert all(len(samples) > 0 for part in parts for samples in part)


@pytest.mark.parametrize("strategy", ["finetune", "ewc", "rehearsal_kd"])
def test_poisoned_test_labels_change_nothing_in_training(
    strategy: str, tmp_path, monkeypatch
) -> None:
    """Nor do altered test pictures: the weights and all logged losses are equal."""
    arguments = ("epochs=2", "batch_size=64", "model.widths=[16]", f"strategy={strategy}",
                 "dataset.tasks=3", "log_every=2")  # fmt: skip
    run_here(tmp_path / "clean", *arguments)
    load = Digits.load

    def poisoned(self, root):
        train, test = load(self, root)
        return train, Split(255 - test.images, test.labels.roll(1))

    monkeypatch.setattr(Digits, "load", poisoned)
    run_here(tmp_path / "poisoned", *arguments)
    weights, losses = [], []
    for name in ("clean", "poisoned"):
        (file,) = (tmp_path / name / "checkpoint").glob("*.ckpt")
        weights.append(torch.load(io.BytesIO(unpacked(file)[1]), weights_only=True)["strategy"])
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        losses.append([line for line in lines if json.loads(line)["event"] == "step"])
    assert losses[0] == losses[1] and len(losses[0]) > 3
    same = [
        torch.equal(value, weights[1][key])
        for key, value in weights[0].items()
        if isinstance(value, torch.Tensor)
    ]
    assert len(same) > 3 and all(same)
