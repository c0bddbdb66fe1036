"""The generative classifier: the likelihood of a picture, and an autoencoder for each class."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from test_strategies import learn, make
from tiny import first_batch, tiny_network, tiny_stream
from torch.distributions import MultivariateNormal, Normal

from cl_runner.errors import ConfigError
from cl_runner.models.vae import VAE
from cl_runner.strategies.generative_classifier import GenerativeClassifier


def test_the_likelihood_is_the_mean_of_the_importance_weights() -> None:
    """Each weight is p(x | z) p(z) / q(z | x), by torch's distributions."""
    torch.manual_seed(0)
    vae, x, noise = VAE((1, 4, 4), [8, 6], 3), torch.rand(5, 1, 4, 4), torch.randn(7, 3)
    code = vae.encoder(x.flatten(1))
    q = Normal(vae.mean(code), torch.exp(0.5 * vae.log_variance(code)))
    weights = []
    for e in noise:
        z = q.loc + e * q.scale
        given_z = Normal(vae.pictures(z), 1.0).log_prob(x).sum((1, 2, 3))
        weights.append(given_z + Normal(0.0, 1.0).log_prob(z).sum(1) - q.log_prob(z).sum(1))
    expected = torch.stack(weights).exp().mean(0).log()
    constant = -16 / 2 * math.log(2 * math.pi)  # of p(x | z), the same for all classes
    torch.testing.assert_close(vae.log_p(x, noise) + constant, expected)


def test_with_many_draws_it_is_the_likelihood_in_closed_form() -> None:
    """Where the mean of p(x | z) is nearly linear in z: x is normal, with covariance I + W Wᵀ / 16
    about 1/2, since a sigmoid has the slope 1/4 at 0. q is another normal distribution."""
    torch.manual_seed(0)
    vae, x = VAE((1, 2, 2), [], 2), torch.rand(5, 1, 2, 2)
    w = 0.4 * torch.randn(4, 2)
    vae.pixels.weight.data.copy_(w)
    vae.pixels.bias.data.zero_()
    estimated = vae.log_p(x, torch.randn(40_000, 2)) - 2 * math.log(2 * math.pi)
    normal = MultivariateNormal(torch.full((4,), 0.5), torch.eye(4) + w @ w.T / 16)
    torch.testing.assert_close(estimated, normal.log_prob(x.flatten(1)), atol=0.01, rtol=0)


@pytest.fixture
def trained() -> GenerativeClassifier:
    """After two of three tasks, with the pixels of a stream that normalises them."""
    stream, strategy = tiny_stream(), make("generative_classifier")
    assert isinstance(strategy, GenerativeClassifier)
    for task in stream.tasks[:2]:
        learn(strategy, stream, task, epochs=3)
    return strategy.eval()


def test_the_scores_are_those_of_pictures_from_0_to_1(trained: GenerativeClassifier) -> None:
    batch = first_batch(tiny_stream(), 1)
    pictures = batch.raw / 255
    scores = trained.predict(batch.x)
    for c in range(6):
        expected = trained.models[c].log_p(pictures, trained.noise)
        torch.testing.assert_close(scores[:, c], expected, atol=1e-4, rtol=0)
    assert torch.equal(trained.predict(batch.x[3:5]), scores[3:5])  # alone or among others


def test_a_class_learns_from_its_own_samples_alone(trained: GenerativeClassifier) -> None:
    """The third task changes no score of the first four classes, and no weight of the network."""
    stream, x = tiny_stream(), first_batch(tiny_stream(), 0).x
    scores = trained.predict(x)
    before = {key: value.clone() for key, value in trained.network.state_dict().items()}
    learn(trained, stream, stream.tasks[2])
    after = trained.eval().predict(x)
    assert torch.equal(after[:, :4], scores[:, :4])
    assert not torch.equal(after[:, 4:], scores[:, 4:])
    body = {key for key in before if "classifier" not in key}
    assert all(torch.equal(trained.network.state_dict()[key], before[key]) for key in body)


def test_the_term_is_the_sum_over_classes_of_the_loss_of_each(
    trained: GenerativeClassifier,
) -> None:
    batch = first_batch(tiny_stream(), 1)
    expected = 0.0
    for c in (2, 3):
        own = batch.raw[batch.y == c] / 255
        noise = trained.models[c].noise(len(own), *batch.position, f"codes of class {c}")
        expected += trained.models[c].loss(own, noise).item()
    terms = trained.objective(batch)
    assert list(terms) == ["generator"]
    assert terms["generator"].item() == pytest.approx(expected, rel=1e-5)


def test_it_needs_pictures_from_0_to_1() -> None:
    settings = {"widths": [8], "latent": 3, "samples": 2}
    network = tiny_network()
    network.takes_features = True
    with pytest.raises(ConfigError, match="needs pictures, and here the network takes features"):
        GenerativeClassifier(network, **settings)


def test_what_each_picture_is_divided_by_cannot_be_undone(cl_train_here, tmp_path: Path) -> None:
    """Refused before anything is written."""
    words = ["strategy=generative_classifier", "strategy.widths=[8]", "name=run"]
    done = cl_train_here(*words, "dataset.pixels.per_picture=true")
    assert done.returncode == 2
    assert "dataset.pixels.per_picture=True: cannot be undone" in done.stderr
    assert not list(tmp_path.rglob("run"))
