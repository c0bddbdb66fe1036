"""Regression against closed forms: data, loss, Fisher information, errors, forgetting, resume."""

from __future__ import annotations

import itertools
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import exit_code
from running import composed, run_here, trained
from torch.optim.optimizer import register_optimizer_step_post_hook

from cl_runner.data.batches import batches
from cl_runner.data.likelihood import GAUSSIAN
from cl_runner.data.stream import Stream
from cl_runner.errors import ConfigError
from cl_runner.metrics import average_mse, mse_growth
from cl_runner.models.mlp import mlp
from cl_runner.strategies.parts.fisher import fisher_diagonal
from cl_runner.strategies.parts.losses import distillation, rehearsal, task_loss
from cl_runner.strategies.parts.memory import Memory

BASES = ("polynomial", "rbf", "sigmoid", "fourier")
INTERVALS = [(-4.0, -0.5), (0.5, 4.0)]
SMALL = ("experiment=regression", "model.widths=[16]", "epochs=12", "dataset.samples=40")


def stream(basis: str = "rbf", seed: int = 0, *overrides: str) -> Stream:
    settings = composed(f"dataset=regression_{basis}", *overrides)
    return settings.dataset.load(seed=seed, scope="seen", device="cpu")


def network(width: int = 6):
    torch.manual_seed(0)
    made = mlp((1, 1, 1), 1, widths=[width], activation="sigmoid", batch_norm=False,
               freeze_statistics=False, init="default", classifier="linear", new_rows="zero",
               inserted_layer="none")  # fmt: skip
    made.likelihood = GAUSSIAN
    made.grow(stream().tasks[0])
    return made


def design(basis: str, z: np.ndarray, terms: int) -> np.ndarray:
    """The columns of the basis and a constant, written with numpy."""
    c = np.linspace(-1, 1, terms)
    d = c[1] - c[0]
    columns = {
        "polynomial": lambda: np.polynomial.legendre.legvander(z, terms)[:, 1:],
        "rbf": lambda: np.exp(-((z[:, None] - c) ** 2) / 2 / d**2),
        "sigmoid": lambda: 1 / (1 + np.exp(-3 * (z[:, None] - c) / d)),
        "fourier": lambda: np.stack(
            [(np.sin, np.cos)[n % 2](np.pi * (n // 2 + 1) * z) for n in range(terms)], 1
        ),
    }[basis]()
    return np.hstack([columns, np.ones((len(z), 1))])


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_function_is_of_its_basis_and_the_samples_are_it_with_noise(basis, seed) -> None:
    """What the least squares of the basis leave is nothing on the test grid, the noise in training;
    one function spans all intervals, or each has its own."""
    found = stream(basis, seed)
    settings = composed(f"dataset=regression_{basis}").dataset
    terms, apart = settings.terms, settings.function == "per_task"
    assert apart == (basis == "polynomial")
    y = np.concatenate([s.y.numpy() for s in found.test])
    assert y.mean() == pytest.approx(0, abs=1e-5) and y.std() == pytest.approx(1, abs=1e-5)
    tests = [(s.raw.flatten().double().numpy(), s.y.numpy()) for s in found.test]
    trains = [(t.train.raw.flatten().double().numpy(), t.train.y.numpy()) for t in found.tasks]
    for (x, _), (a, b) in zip(trains, INTERVALS, strict=True):
        assert a <= x.min() and x.max() <= b and len(x) == 100
    for which in [[0], [1]] if apart else [[0, 1]]:
        ends = (INTERVALS[which[0]][0], INTERVALS[which[-1]][1])

        def parts(pairs, which=which, ends=ends):
            x, y = (np.concatenate([pairs[t][i] for t in which]) for i in (0, 1))
            return design(basis, (2 * x - sum(ends)) / (ends[1] - ends[0]), terms), y

        columns, truth = parts(tests)
        weights = np.linalg.lstsq(columns, truth, rcond=None)[0]
        assert np.abs(columns @ weights - truth).max() < 1e-3
        columns, noisy = parts(trains)
        assert (noisy - columns @ weights).std() == pytest.approx(0.1, rel=0.25)


def test_the_seed_draws_the_function_and_the_samples() -> None:
    one, same, other = stream(seed=3), stream(seed=3), stream(seed=4)
    assert torch.equal(one.tasks[0].train.raw, same.tasks[0].train.raw)
    assert torch.equal(one.test[1].y, same.test[1].y)
    assert not torch.allclose(one.test[1].y, other.test[1].y)
    exact = stream("rbf", 3, "dataset.noise=0.0")
    assert torch.equal(exact.tasks[0].train.raw, one.tasks[0].train.raw)
    assert (one.tasks[0].train.y - exact.tasks[0].train.y).std().item() == pytest.approx(
        0.1, rel=0.3
    )


@pytest.mark.parametrize("intervals", ["[]", "[[0,1,2]]", "[[1,0]]", "[[0,2],[1,3]]"])
def test_intervals_that_are_none(intervals: str) -> None:
    with pytest.raises(ConfigError, match=r"dataset.intervals=.*in increasing order"):
        composed("dataset=regression_rbf", f"dataset.intervals={intervals}")


def test_losses_are_mean_squares() -> None:
    task = stream().tasks[1]
    batch = next(iter(batches(task.train, task, epoch=0, batch_size=10)))
    old = next(iter(batches(task.train, task, epoch=1, batch_size=5)))
    outputs, teacher = torch.randn(15, 1), torch.randn(15, 1)
    squares = (outputs[:, 0] - torch.cat([batch.y, old.y])) ** 2
    assert task_loss(outputs[:10], batch).item() == pytest.approx(squares[:10].mean().item())
    for loss, expected in (
        ("concat", squares.mean()),
        ("sum", squares[:10].mean() + squares[10:].mean()),
    ):
        terms = rehearsal(outputs, batch, old, loss)
        assert sum(terms.values()).item() == pytest.approx(expected.item())
    found = distillation(outputs, teacher, task, T=2.0, t_squared=True)
    assert found.item() == pytest.approx(((outputs - teacher) ** 2).mean().item())


def test_fisher_of_the_gaussian_likelihood() -> None:
    """Of −log p = (y − f)², noise of variance ½: exact 2 E (∂f)², empirical 4 E (y − f)² (∂f)², and
    sampled tends to exact; by a loop with plain autograd."""
    net, task = network(), stream().tasks[0]
    samples = task.train
    exact = torch.zeros(sum(p.numel() for p in net.parameters()))
    empirical = torch.zeros_like(exact)
    for x, y in zip(samples.x, samples.y, strict=True):
        f = net(x[None])[0, 0]
        gradients = torch.autograd.grad(f, list(net.parameters()))
        square = torch.cat([g.flatten() for g in gradients]) ** 2
        exact += 2 * square / len(samples)
        empirical += 4 * (y - f.detach()) ** 2 * square / len(samples)
    close = {"rtol": 1e-4, "atol": 1e-7}
    torch.testing.assert_close(fisher_diagonal(net, samples, task, "exact", 10), exact, **close)
    torch.testing.assert_close(
        fisher_diagonal(net, samples, task, "empirical", 10), empirical, **close
    )
    many = samples[torch.arange(100).repeat(200)]
    sampled = fisher_diagonal(net, many, task, "sampled", 10)
    torch.testing.assert_close(sampled, exact, rtol=0.15, atol=1e-6)


@pytest.mark.parametrize("estimator", ["batch", "batch_all_pairs"])
def test_squares_of_batch_gradients(estimator: str) -> None:
    net, task = network(), stream().tasks[0]
    samples, gradients = task.train[:20], []
    for rows in (slice(0, 10), slice(10, 20)):
        f, y = net(samples.x[rows])[:, 0], samples.y[rows]
        log_p = -((y - f) ** 2) if estimator == "batch" else -((y[None] - f[:, None]) ** 2)
        found = torch.autograd.grad(log_p.mean(), list(net.parameters()))
        gradients.append(torch.cat([g.flatten() for g in found]))
    both = torch.stack(gradients)
    expected = both.square().mean(0) if estimator == "batch" else both.mean(0).square()
    found = fisher_diagonal(net, samples, task, estimator, 10)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-9)


def test_errors_by_hand() -> None:
    M = [[0.1, None, None], [0.4, 0.2, None], [0.3, 0.8, 0.5]]
    assert average_mse(M) == pytest.approx(1.6 / 3)
    assert mse_growth(M) == pytest.approx((3 + 4) / 2)
    assert mse_growth([[0.1]]) is None


def test_a_run_keeps_errors_and_fits(tmp_path: Path) -> None:
    """The matrix and the curve follow from the stored fits; no accuracy is made up."""
    settings = (*SMALL, "dataset.validation_fraction=0.25")
    results = run_here(tmp_path, *settings)
    with np.load(tmp_path / "predictions.npz") as kept:
        arrays = dict(kept)
    assert arrays["fits"].shape == (2 * (12 + 1), 400) and len(arrays["training_inputs"]) == 60
    squares = (arrays["fits"].astype(float) - arrays["targets"]) ** 2
    for n, point in enumerate(results["mse_curve"]):
        for k, error in enumerate(point["mse"]):
            assert error == pytest.approx(squares[n, arrays["tasks"] == k].mean(), rel=1e-6)
    assert results["mse"] == [
        [*results["mse_curve"][12]["mse"], None],
        results["mse_curve"][25]["mse"],
    ]
    assert results["accuracy"] is results["average_accuracy"] is results["forgetting"] is None
    described = {"name": "x from -4 to -0.5", "classes": None, "train": 30, "test": 200}
    assert described.items() <= results["tasks"][0].items()
    strategy = trained(tmp_path, *settings)
    tasks = composed(*settings).dataset.load(seed=0, scope="seen", device="cpu").tasks
    errors = [strategy.predict(t.validation.x)[:, 0] - t.validation.y for t in tasks]
    first, last = results["mse_validation"]
    assert last == pytest.approx([e.square().mean().item() for e in errors], rel=1e-4)
    assert first[0] > 0 and first[1] is None


@pytest.mark.parametrize(
    "strategy", ["ewc", "si", "lwf", "rehearsal", "rehearsal_kd", "gdumb", "joint"]
)
def test_every_strategy_learns_a_regression(strategy: str, tmp_path: Path) -> None:
    buffer = (
        ["strategy.buffer_size=10"] if strategy in ("rehearsal", "rehearsal_kd", "gdumb") else []
    )
    results = run_here(tmp_path, *SMALL, f"strategy={strategy}", *buffer)
    assert results["alarms"] == [] and results["mse_growth"] > 0
    assert results["mse"][0][0] < 0.75  # of targets whose variance is about 1


def test_stored_samples_are_training_samples_bit_for_bit(tmp_path: Path) -> None:
    task = stream().tasks[0]
    memory = Memory(12, network(), "class_balanced")
    memory.learn(task, network())
    known = {(x.item(), y.item()) for x, y in zip(task.train.raw, task.train.y, strict=True)}
    stored = {(x.item(), y.item()) for x, y in zip(memory.images, memory.labels, strict=True)}
    assert len(stored) == 12 and stored <= known
    memory.learn(stream().tasks[1], network())
    assert torch.bincount(memory.groups >> 32).tolist() == [6, 6]


def test_fine_tuning_forgets_what_joint_training_keeps(tmp_path: Path) -> None:
    """The two numbers of experiment 4 for one seed: ≥ 10 times the error, and at most twice."""
    common = ("experiment=regression", "evaluate_every=null")
    forgotten = run_here(tmp_path / "finetune", *common)
    kept = run_here(tmp_path / "joint", *common, "strategy=joint")
    assert forgotten["mse"][0] == kept["mse"][0]
    assert forgotten["mse_growth"] >= 10 and kept["mse_growth"] <= 2


def test_a_killed_run_goes_on_bit_for_bit(cl_train_beside, cl_train_here, tmp_path) -> None:
    def plant() -> None:
        steps = itertools.count(1)

        def kill_at_20(*_: object) -> None:
            if next(steps) == 20:
                os.kill(os.getpid(), signal.SIGKILL)

        register_optimizer_step_post_hook(kill_at_20)

    common = (*SMALL, "strategy=rehearsal", "strategy.buffer_size=10", "checkpoint.every_n_steps=7")
    child = cl_train_beside(*common, "name=run", "output_root=.", first=plant)
    assert exit_code(child) == -signal.SIGKILL
    assert cl_train_here("resume=run").returncode == 0
    assert cl_train_here(*common, "name=whole", "output_root=.").returncode == 0
    for file in ("metrics.jsonl", "predictions.npz"):
        assert (tmp_path / "run" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_what_is_printed_and_what_a_sweep_is_told(cl_train_here, tmp_path) -> None:
    done = cl_train_here(*SMALL, "name=run", "output_root=.")
    assert "mean squared error" in done.stdout and "mse growth" in done.stdout
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    row = next(line for line in done.stdout.splitlines() if line.startswith("after 1"))
    assert row.split() == ["after", "1", f"{results['mse'][0][0]:.3g}", "–"]
