"""The Fisher information against closed forms and a loop over samples."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from tiny import SHAPE, by_twos, tiny_network, tiny_stream
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector

from cl_runner.data.likelihood import CATEGORICAL
from cl_runner.models.cnn import cnn
from cl_runner.models.network import Network
from cl_runner.strategies.parts import per_sample
from cl_runner.strategies.parts.fisher import Estimator, fisher_diagonal


def softmax_regression(classes: int = 6) -> Network:
    return by_twos(Network(nn.Flatten(), SHAPE, 16, classes, init="default", new_rows="default"))


def gradient(value: torch.Tensor, network: Network) -> torch.Tensor:
    """[P], with zeros for rows of later classes."""
    return parameters_to_vector(
        torch.autograd.grad(value, list(network.parameters()), materialize_grads=True)
    )


def loop(network: Network, x: torch.Tensor, y: torch.Tensor, classes: slice, f) -> torch.Tensor:
    """One backward pass per sample: slow and obviously correct."""
    total = torch.zeros(sum(p.numel() for p in network.parameters()))
    for sample, label in zip(x, y, strict=True):
        log_p = F.log_softmax(network(sample[None])[:, classes], 1)[0, label]
        total += f(gradient(log_p, network))
    return total


@pytest.mark.parametrize("estimator", ["exact", "empirical"])
def test_softmax_regression_has_the_closed_form(estimator: str) -> None:
    stream, network = tiny_stream(), softmax_regression()
    for task in stream.tasks:
        network.grow(task)
    task = stream.tasks[2]
    x, y = task.train.x.flatten(1), task.train.y
    p = F.softmax(network(task.train.x), 1).detach()
    # ∂ log p(c|x) / ∂W[k] = (1[c = k] − p[k]) x, whose square has expectation p[k] (1 − p[k]) x²
    factor = p * (1 - p) if estimator == "exact" else (F.one_hot(y, 6) - p).square()
    expected = torch.cat([(factor.T @ x.square()).flatten(), factor.sum(0)]) / len(x)
    found = fisher_diagonal(network, task.train, task, estimator=estimator, batch_size=7)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("f", [torch.square, torch.abs])
@pytest.mark.parametrize("kind", ["mlp", "batch_norm", "cnn"])
def test_sums_of_gradients_equal_the_loop_over_samples(kind: str, f) -> None:
    stream = tiny_stream()
    if kind == "cnn":
        network = by_twos(
            cnn(
                SHAPE,
                6,
                channels=[2, 3],
                hidden=5,
                init="default",
                classifier="linear",
                new_rows="default",
                inserted_layer="none",
            )
        )
    else:
        network = tiny_network(batch_norm=kind == "batch_norm", new_rows="default")
    for task in stream.tasks[:2]:
        network.grow(task)
    network.eval()
    samples = stream.tasks[1].train[:20]
    expected = loop(network, samples.x, samples.y, slice(0, 4), f)

    def log_p(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return CATEGORICAL.log_p(outputs, y, range(4))

    found = per_sample.sum_of_gradients(f, log_p, network, samples.x, samples.y)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-8)
    weight = torch.linspace(0, 2, len(samples))
    weighted = per_sample.sum_of_gradients(f, log_p, network, samples.x, samples.y, weight)
    expected = sum(
        w * loop(network, x[None], y[None], slice(0, 4), f)
        for w, x, y in zip(weight, samples.x, samples.y, strict=True)
    )
    torch.testing.assert_close(weighted, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("estimator", ["exact", "sampled", "empirical"])
def test_per_sample_estimates_do_not_depend_on_the_chunk(
    estimator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, network = tiny_stream(), tiny_network()
    task = stream.tasks[0]
    network.grow(task)
    found = []
    for chunk in (1, 7, 64):
        monkeypatch.setattr(per_sample, "CHUNK", chunk)
        diagonal = fisher_diagonal(network, task.train, task, estimator=estimator, batch_size=chunk)
        found.append(diagonal)
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-9)
    torch.testing.assert_close(found[0], found[2], rtol=1e-4, atol=1e-9)


def test_batch_is_the_square_of_the_batch_mean_and_shrinks_with_the_batch() -> None:
    stream, network = tiny_stream(), tiny_network()
    task = stream.tasks[0]
    network.grow(task)
    samples = task.train[:64]
    of = {
        size: fisher_diagonal(network, samples, task, estimator="batch", batch_size=size)
        for size in (1, 64)
    }
    loss = F.cross_entropy(network(samples.x)[:, :2], samples.y)
    mean = gradient(loss, network)
    torch.testing.assert_close(of[64], mean.square())
    empirical = fisher_diagonal(network, samples, task, estimator="empirical", batch_size=1)
    torch.testing.assert_close(of[1], empirical, rtol=1e-4, atol=1e-9)


def test_all_pairs_is_the_square_of_one_gradient_of_the_mean_of_the_whole_matrix() -> None:
    """Written out with loops over samples and labels, two batches of ten."""
    stream, network = tiny_stream(), tiny_network()
    task = stream.tasks[0]
    network.grow(task)
    samples, total = task.train[:20], torch.zeros(())
    for batch in (samples[:10], samples[10:]):
        log_p = F.log_softmax(network(batch.x)[:, :2], 1)
        for i in range(10):
            for j in range(10):
                total = total + log_p[i, batch.y[j]] / 200
    expected = gradient(total, network).square()
    found = fisher_diagonal(network, samples, task, "batch_all_pairs", batch_size=10)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-10)


def test_identity_is_the_plain_anchor() -> None:
    stream, network = tiny_stream(), tiny_network()
    found = fisher_diagonal(network, stream.tasks[0].train, stream.tasks[0], "identity", 1)
    assert len(found) == sum(p.numel() for p in network.parameters())
    born = found[-6 * 9 : -6].view(6, 8).sum(1).tolist() + found[-6:].tolist()
    assert (found[: -6 * 9] == 1).all() and born == [0] * 12
    network.grow(stream.tasks[0])
    found = fisher_diagonal(network, stream.tasks[0].train, stream.tasks[0], "identity", 1)
    assert found[-6:].tolist() == [1, 1, 0, 0, 0, 0]  # nothing pulls at what is not there yet


@pytest.mark.parametrize("estimator", get_args(Estimator))
def test_a_layer_that_is_not_inserted_yet_carries_no_information(estimator: str) -> None:
    torch.manual_seed(3)
    network = cnn(SHAPE, 6, channels=[2], hidden=5, classifier="linear", init="default",
                  new_rows="default", inserted_layer="identity")  # fmt: skip
    by_twos(network)
    task = tiny_stream().tasks[0]
    network.grow(task)
    found = fisher_diagonal(network, task.train[:20], task, estimator, batch_size=10)
    sizes = {name: p.numel() for name, p in network.named_parameters()}
    places = dict(zip(sizes, found.split(list(sizes.values())), strict=True))
    assert not places["inserted.0.weight"].any() and not places["inserted.0.bias"].any()
    assert places["classifier.biases.0"].any() and not places["classifier.biases.1"].any()


def test_the_sampled_estimate_goes_to_the_exact_one() -> None:
    stream, network = tiny_stream(samples=4000), tiny_network()
    task = stream.tasks[0]
    network.grow(task)
    sampled, exact = (
        fisher_diagonal(network, task.train, task, estimator=e, batch_size=1).sum()
        for e in ("sampled", "exact")
    )
    assert sampled.item() == pytest.approx(exact.item(), rel=0.05)


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_as_it_was(training: bool) -> None:
    stream, network = tiny_stream(), tiny_network(batch_norm=True)
    task = stream.tasks[0]
    network.grow(task)
    network.train(training)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for estimator in get_args(Estimator):
        found = fisher_diagonal(network, task.train, task, estimator=estimator, batch_size=10)
        assert torch.isfinite(found).all() and (found >= 0).all()
    assert network.training == training
    assert all(p.grad is None for p in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_rows_not_born_yet_carry_no_information() -> None:
    stream, network = tiny_stream(), tiny_network()
    network.grow(stream.tasks[0])
    task = stream.tasks[0]
    found = fisher_diagonal(network, task.train, task, estimator="exact", batch_size=1)
    weight, bias = found[-6 * 9 : -6].view(6, 8), found[-6:]
    assert weight[:2].any() and bias[:2].any()
    assert not weight[2:].any() and not bias[2:].any()
