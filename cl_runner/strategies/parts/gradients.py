"""Gradients as vectors: of one loss, or of many groups of samples at once.

P trainable parameters.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from cl_runner.data.stream import Task
from cl_runner.models.network import Network


def flat(gradients: Sequence[Tensor | None], of: Sequence[Tensor]) -> Tensor:
    """[P], zero where there is no gradient. of: the parameters."""
    pairs = zip(gradients, of, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in pairs])


def of_groups(network: Network, x: Tensor, y: Tensor, task: Task) -> Tensor:
    """[N, P]: of the mean loss of each of N groups of samples, over the parameters that learn.

    x: [N, B, …], y: [N, B]. The rule of the current task decides which classes compete.
    """
    given = dict(network.named_parameters())
    learning = {name: p.detach() for name, p in given.items() if p.requires_grad}
    fixed = {n: p.detach() for n, p in given.items() if n not in learning}
    fixed |= dict(network.named_buffers())

    def loss(learning: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        outputs = functional_call(network, learning | fixed, (x,))
        return task.likelihood.loss(outputs, y, task.competing)

    parts = vmap(grad(loss), in_dims=(None, 0, 0))(learning, x, y)
    return torch.cat([part.reshape(len(x), -1) for part in parts.values()], 1)
