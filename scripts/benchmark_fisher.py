"""The sampled estimate of the Fisher information against one backward pass per sample."""

from __future__ import annotations

import tempfile

import torch
from interleaving import Ratio, interleaved
from synthetic_runs import MLP, synthetic, training
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector

from cl_runner.data.batches import Batch, batches
from cl_runner.strategies.parts.fisher import fisher_diagonal


def fisher() -> Ratio:
    """Ours / by a loop, over 2,000 samples."""
    task = (stream := synthetic(1, 2000)).tasks[0]
    with tempfile.TemporaryDirectory() as folder:
        network = training(stream, folder, *MLP, "strategy=finetune").strategy.network.eval()
    network.grow(task)
    parameters = list(network.parameters())

    def ours() -> None:
        fisher_diagonal(network, task.train, task, estimator="sampled", batch_size=1)

    def by_loop() -> None:
        total = torch.zeros_like(parameters_to_vector(parameters))
        for batch in batches(task.train, task, epoch=0, batch_size=1):
            total += _squared_gradient(network, batch, parameters)

    return interleaved(ours, by_loop, pairs=7)


def _squared_gradient(
    network: nn.Module, batch: Batch, parameters: list[nn.Parameter]
) -> torch.Tensor:
    log_p = F.log_softmax(network(batch.x), dim=1)
    label = torch.multinomial(log_p.detach().exp(), 1)
    gradients = torch.autograd.grad(log_p.gather(1, label).sum(), parameters)
    return parameters_to_vector(gradients).square()
