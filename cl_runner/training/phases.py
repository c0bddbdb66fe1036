"""How each epoch of a run trains: layers, optimizer, weight decay, learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import nn

from cl_runner.config.setting_types import at_task
from cl_runner.models.network import Network
from cl_runner.training.optimizers import learning_rate
from cl_runner.training.settings import Phase, Settings


class Phases:
    """The phases of all tasks: those of `first_phases` and `later_phases`, or one per task.

    Everything is a function of task and epoch, so only the optimizer has to be saved.
    """

    def __init__(
        self, settings: Settings, network: Network, parameters: Sequence[nn.Parameter]
    ) -> None:
        self.settings, self.network, self.parameters = settings, network, parameters

    def epochs(self, task: int) -> int:
        return sum(phase.epochs for phase in self._of(task))

    def begins(self, task: int, epoch: int) -> bool:
        """Whether a later phase of the task begins with this epoch."""
        return epoch in accumulate(phase.epochs for phase in self._of(task))

    def fresh_optimizer(self, task: int, epoch: int = 0) -> torch.optim.Optimizer:
        """A new optimizer for the phase of this epoch."""
        # In groups: torch's fused SGD cannot mix parameters that have a momentum with others.
        groups = [{"params": group} for group in self.network.by_age(self.parameters)]
        optimizer: torch.optim.Optimizer = self.settings.optimizer(groups, task)
        if isinstance(optimizer, torch.optim.SGD) and optimizer.defaults["momentum"] == 0:
            optimizer = self.settings.optimizer(self.parameters, task)  # one kernel for all
        decay = self._at(task, epoch).weight_decay
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
            if decay is not None:
                group["weight_decay"] = decay
        return optimizer

    def enter_epoch(self, optimizer: torch.optim.Optimizer, task: int, epoch: int) -> None:
        """Set the learning rate, and turn gradients off for layers that do not learn."""
        schedule, lowest = self.settings.lr_schedule, self.settings.min_lr
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(schedule, group["initial_lr"], lowest, epoch)
        self._let_the_body_learn(self._at(task, epoch).layers == "all")

    def leave_task(self) -> None:
        """Turn all gradients on again: a Fisher estimate needs them."""
        self._let_the_body_learn(True)

    def _let_the_body_learn(self, learns: bool) -> None:
        """Leaves alone what the model has frozen."""
        body = set(self.network.body.parameters())
        for parameter in self.parameters:
            if parameter in body:
                parameter.requires_grad_(learns)

    def _of(self, task: int) -> Sequence[Phase]:
        settings = self.settings
        phases = settings.first_phases if task == 0 else settings.later_phases
        if phases is not None:
            return phases
        epochs = at_task(self.settings.epochs, task)
        return [Phase(epochs=epochs, layers="all", weight_decay=None)]

    def _at(self, task: int, epoch: int) -> Phase:
        return [phase for phase in self._of(task) for _ in range(phase.epochs)][epoch]
