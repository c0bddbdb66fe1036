"""The diagonal of the Fisher information: its estimates, each under an honest name.

- `exact`:     E_x E_{y ~ p(y|x)} (∂ log p(y|x) / ∂θ)², over all classes that compete
- `sampled`:   the same with one label drawn from the model for each x
- `empirical`: with the true label
- `predicted`: with the label that the network predicts, as in the code of Hsu et al. 2018
- `batch`:     the square of a batch-mean gradient, with true labels. Not a Fisher information: it
               shrinks as the batch grows. Offered because published numbers were made with it.
- `batch_all_pairs`: the square of one gradient, of the mean over batches of the mean of the matrix
               log p(y_j | x_i), which pairs each sample of a batch with each label in it, of
               those that compete for it. Not a Fisher information either; some published code
               computes it
- `identity`:  all ones: the plain L2 anchor

`data/likelihood.py` defines p(y | x). In regression it is a Gaussian of variance ½ around f(x), so
`exact` is 2 E_x (∂f(x) / ∂θ)².

The first four are per sample, so they do not depend on the batch size (van de Ven 2025,
arXiv:2502.11756, compares them).
"""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from operator import add
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from cl_runner.data.samples import Samples
from cl_runner.data.stream import Task
from cl_runner.models.network import Network, evaluation_mode
from cl_runner.strategies.parts import per_sample

Estimator = Literal[
    "exact", "sampled", "empirical", "predicted", "batch", "batch_all_pairs", "identity"
]


def fisher_diagonal(
    network: Network, samples: Samples, task: Task, estimator: Estimator, batch_size: int
) -> Tensor:
    """The diagonal over `samples`, [P] in the order of `network.trainable`.

    Runs in evaluation mode and leaves the network's mode, buffers and gradients as they were.
    `batch_size` only matters for the two `batch` estimators.
    """
    with evaluation_mode(network):
        if estimator == "identity":
            return ones(network)
        if estimator == "batch":
            return _squared_batch_gradients(network, samples, task, batch_size)
        if estimator == "batch_all_pairs":
            return _squared_gradient_of_all_pairs(network, samples, task, batch_size)
        draw, size = task.generator("fisher labels"), per_sample.chunk_size(network, samples)
        sums = (
            _over_targets(network, chunk, replace(task, candidates=candidates), estimator, draw)
            for part, candidates in task.by_candidates(samples)
            for chunk in part.chunks(size)
        )
        return reduce(add, sums) / len(samples)


def _over_targets(
    network: Network, samples: Samples, task: Task, estimator: Estimator, draw: torch.Generator
) -> Tensor:
    """Sum over samples of the squared gradients of log p at the estimator's targets, [P]."""
    x = samples.x
    if estimator == "empirical":
        return squared_gradients(network, x, samples.y, task)
    with torch.no_grad():
        outputs = network(x)
    if estimator == "sampled":
        y = task.likelihood.sample(outputs, task.candidates, draw)
        return squared_gradients(network, x, y, task)
    if estimator == "predicted":
        return squared_gradients(network, x, task.likelihood.mode(outputs, task.candidates), task)
    support = task.likelihood.support(outputs, task.candidates)
    return reduce(add, (squared_gradients(network, x, y, task, p) for y, p in support))


def squared_gradients(
    network: Network, x: Tensor, y: Tensor, task: Task, weight: Tensor | None = None
) -> Tensor:
    """Σₙ weightₙ · (∂ log p(yₙ | xₙ) / ∂θ)², [P]; y, weight: [N]."""

    def log_p(outputs: Tensor, y: Tensor) -> Tensor:
        return task.likelihood.log_p(outputs, y, task.candidates)

    return per_sample.sum_of_gradients(torch.square, log_p, network, x, y, weight)


def _squared_batch_gradients(
    network: Network, samples: Samples, task: Task, batch_size: int
) -> Tensor:
    """Mean over batches of (∂/∂θ of the batch-mean log p(y | x))², [P]."""
    squares = []
    for batch in samples.chunks(batch_size):
        parts = [
            task.likelihood.log_p(network(part.x), part.y, candidates)
            for part, candidates in task.by_candidates(batch)
        ]
        squares.append(_gradient(torch.cat(parts).mean(), network).square())
    return torch.stack(squares).mean(0)


def _squared_gradient_of_all_pairs(
    network: Network, samples: Samples, task: Task, batch_size: int
) -> Tensor:
    """(∂/∂θ of the mean over batches of mean over i, j of log p(y_j | x_i))², [P]."""
    means = []
    for batch in samples.chunks(batch_size):
        parts = []
        for part, candidates in task.by_candidates(batch):
            outputs = network(part.x)[:, None].expand(-1, len(part), -1)  # [B, B, C]
            pairs = part.y.expand(len(part), -1)
            parts.append(task.likelihood.log_p(outputs, pairs, candidates).flatten())
        means.append(torch.cat(parts).mean())
    return _gradient(torch.stack(means).mean(), network).square()


def _gradient(value: Tensor, network: Network) -> Tensor:
    """∂ value / ∂θ, [P]; zero for unused parameters, as in a layer that is not inserted yet."""
    parameters = network.trainable
    return parameters_to_vector(
        torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)
    )


def ones(network: Network) -> Tensor:
    """One for each parameter in use; zero for rows and a layer that are drawn later."""
    absent: set[nn.Parameter] = set(network.classifier.undrawn)
    if network.inserted is not None and not network.stage.later:
        absent |= set(network.inserted.parameters())
    return parameters_to_vector(
        torch.full_like(p, float(p not in absent)) for p in network.trainable
    )
