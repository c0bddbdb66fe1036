"""A frozen copy of a network, always in evaluation mode: the teacher in distillation."""

from __future__ import annotations

import copy
from typing import Self

import torch
from torch import Tensor, nn

from cl_runner.data.stream import Task
from cl_runner.errors import ConfigError
from cl_runner.models.network import Network


def from_scratch(network: Network, key: str, value: str) -> Teacher:
    """A copy of the initial network, from which each later task starts again.

    Raises ConfigError, which names the strategy's setting `key`, if the network is to keep the
    statistics of the first task.
    """
    if network.freeze_statistics:
        allowed = (
            "starts every task from scratch, so there are no statistics of the first task to freeze"
        )
        raise ConfigError.of(key, value, allowed, "model.freeze_statistics=false")
    return Teacher(network)


class Teacher(nn.Module):
    """Remembers a network as it was. Its weights get no gradient, and no optimizer sees them."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False)

    def learn_from(self, network: Network) -> None:
        """Copy this network as it is now."""
        self.network.load_state_dict(network.state_dict())

    def restart(self, network: Network, task: Task) -> None:
        """Set `network` back to this copy, which gets the new rows of the task first."""
        self.network.grow(task)
        network.load_state_dict(self.network.state_dict())

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """[B, C] logits, without gradient."""
        logits: Tensor = self.network(x)
        return logits

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode: no dropout, and the statistics of BatchNorm do not move."""
        return super().train(False)
