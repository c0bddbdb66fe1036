"""Deep generative replay: the autoencoder's loss, and the terms on what it draws."""

from __future__ import annotations

import math

import pytest
import torch
from test_strategies import make, train
from tiny import first_batch, tiny_network, tiny_stream
from torch.distributions import Bernoulli, Normal, kl_divergence
from torch.nn import functional as F

from cl_runner.errors import ConfigError
from cl_runner.models.vae import VAE
from cl_runner.strategies.dgr import DGR
from cl_runner.strategies.parts.losses import task_loss


def test_the_loss_of_the_autoencoder_is_the_negative_elbo_per_pixel() -> None:
    torch.manual_seed(0)
    vae, x, noise = VAE((1, 4, 4), [8, 6], 3), torch.rand(5, 1, 4, 4).round(), torch.randn(5, 3)
    code = vae.encoder(x.flatten(1))
    q = Normal(vae.mean(code), torch.exp(0.5 * code @ vae.log_variance.weight.T))
    z = q.loc + q.scale * noise
    p = Bernoulli(probs=vae.pictures(z), validate_args=False)
    elbo = p.log_prob(x).sum((1, 2, 3)) - kl_divergence(q, Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(vae.loss(x, noise), -elbo.mean() / 16)
    assert [layer.out_features for layer in vae.decoder[::2]] == [6, 8]


def test_an_autoencoder_without_hidden_layers() -> None:
    vae, x = VAE((1, 4, 4), [], 3), torch.rand(5, 1, 4, 4)
    assert vae.pictures(torch.randn(5, 3)).shape == x.shape
    assert vae.loss(x, torch.randn(5, 3)) > 0


def test_the_autoencoder_learns_to_draw_the_pictures() -> None:
    """Two kinds of pictures: most that it draws are nearly one of them, and both are drawn."""
    torch.manual_seed(0)
    kinds = torch.stack([torch.eye(4), 1 - torch.eye(4)])[:, None]
    vae = VAE((1, 4, 4), [16], 2)
    optimizer = torch.optim.Adam(vae.parameters(), lr=0.01)
    for _ in range(400):
        optimizer.zero_grad()
        vae.loss(kinds.repeat(16, 1, 1, 1), torch.randn(32, 2)).backward()
        optimizer.step()
    drawn = vae.pictures(torch.randn(200, 2))
    distance = (drawn[:, None] - kinds).abs().flatten(2).mean(2)  # to each kind
    near = (distance < 0.1).sum(0)
    assert near.sum() > 150 and near.min() > 40


@pytest.mark.parametrize("scenario", ["class_incremental", "task_incremental"])
@pytest.mark.parametrize("labels", ["hard", "soft"])
def test_the_terms_are_those_of_the_equation(scenario: str, labels: str) -> None:
    """At the third task: a third for the batch, two thirds for what was drawn before it."""
    stream, strategy = tiny_stream(scenario), make(f"dgr{' soft' * (labels == 'soft')}")
    train(strategy, stream, 2)
    task, batch = stream.tasks[2], first_batch(stream, 2)
    strategy.network.grow(task)
    strategy.begin_task(task)
    terms = strategy.objective(batch)
    x = task.train.pixels(strategy._drawn(batch))
    z, teacher = strategy.network(x), strategy.teacher(x)
    if labels == "hard":
        olds = [slice(0, 4)] if scenario == "class_incremental" else [slice(0, 2), slice(2, 4)]
        expected = sum(
            F.cross_entropy(z if len(olds) == 1 else z[:, old], teacher[:, old].argmax(1))
            for old in olds
        ) / len(olds)
    elif scenario == "class_incremental":  # the new outputs compete, and the teacher has none
        p = torch.softmax(torch.cat([teacher[:, :4], torch.full((5, 2), -1e9)], 1) / 2, 1)
        expected = 4 * F.kl_div(torch.log_softmax(z / 2, 1), p, reduction="batchmean")
    else:
        p, q = (F.softmax(out[:, :4].unflatten(1, (2, 2)) / 2, 2) for out in (teacher, z))
        expected = 4 * (p * (p / q).log()).sum(2).mean()
    torch.testing.assert_close(terms["replay"], 2 / 3 * expected)
    own = task_loss(strategy.network(batch.x), batch)
    torch.testing.assert_close(terms["task"], own / 3)
    ones = [strategy._own_loss(batch, batch.raw, "codes"),
            strategy._own_loss(batch, strategy._drawn(batch), "codes of replay")]  # fmt: skip
    torch.testing.assert_close(terms["generator"], ones[0] / 3 + 2 * ones[1] / 3)


def test_what_is_drawn_is_from_the_autoencoder_before_the_task() -> None:
    """With 256 levels, the same at the same position, and others at the next one."""
    stream, strategy = tiny_stream(), make("dgr")
    train(strategy, stream, 1)
    batch, task = first_batch(stream, 1), stream.tasks[1]
    first = strategy._drawn(batch)
    z = strategy.generator.noise(5, *batch.position, "replay")
    assert (first / 255 - strategy.generator.pictures(z)).abs().max() <= 0.5 / 255 + 1e-6
    strategy.network.grow(task)
    for parameter in strategy.generator.parameters():
        parameter.data.add_(1.0)  # as if it learned
    assert torch.equal(strategy._drawn(batch), first)
    strategy.end_task(task)
    assert not torch.equal(strategy._drawn(batch), first)


def test_the_network_learns_the_first_task_as_fine_tuning_does() -> None:
    """The autoencoder has weights of its own."""
    stream, one, other = tiny_stream(), make("dgr"), make("finetune")
    train(one, stream, 1)
    train(other, stream, 1)
    ours, theirs = (s.network.state_dict() for s in (one, other))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours if "extra" not in name)
    assert math.isfinite(one.generator.loss(torch.rand(3, 1, 4, 4), torch.zeros(3, 3)).item())


def test_features_cannot_be_drawn() -> None:
    network = tiny_network()
    network.takes_features = True
    with pytest.raises(ConfigError, match="needs pictures, and here the network takes features"):
        DGR(
            network,
            labels="hard",
            T=2.0,
            class_mean=False,
            replay_batch_size=5,
            widths=[8],
            latent=3,
        )


@pytest.mark.parametrize("scenario", ["class_incremental", "task_incremental"])
def test_soft_labels_by_the_mean_over_the_classes_that_compete(scenario: str) -> None:
    """All six, or the two of each task."""
    stream, summed = tiny_stream(scenario), make("dgr soft")
    averaged = make("dgr soft", class_mean=True)
    for strategy in (summed, averaged):
        train(strategy, stream, 2)
        strategy.network.grow(stream.tasks[2])
    averaged.load_state_dict(summed.state_dict())
    batch = first_batch(stream, 2)
    expected, ours = (strategy.objective(batch)["replay"] for strategy in (summed, averaged))
    torch.testing.assert_close(ours, expected / (6 if scenario == "class_incremental" else 2))
