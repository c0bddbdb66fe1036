"""How each step of a run trains: its budget, layers, optimizer, weight decay, learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import nn

from cl_runner.config.setting_types import at_task
from cl_runner.models.network import Network
from cl_runner.training.optimizers import HEAD
from cl_runner.training.schedulers import Constant, Place
from cl_runner.training.settings import Phase, Settings


class Phases:
    """The phases of all tasks: those of `first_phases` and `later_phases`, or one per task.

    Everything is a function of the position, so only the optimizer has to be saved.
    """

    def __init__(
        self, settings: Settings, network: Network, parameters: Sequence[nn.Parameter]
    ) -> None:
        self.settings, self.network, self.parameters = settings, network, parameters
        self.constant = isinstance(settings.scheduler, Constant)

    def steps_per_epoch(self, samples: int) -> int:
        """Optimizer steps of an epoch over this number of samples."""
        whole, rest = divmod(samples, self.settings.batch_size * self.settings.accumulate)
        return whole + (rest > 0 and not self.settings.drop_last)

    def steps(self, task: int, per_epoch: int) -> int:
        """Optimizer steps of the task, at this number in each epoch; 0 if there it is 0."""
        if per_epoch == 0:
            return 0
        if self._given(task) is None and self.settings.steps is not None:
            return at_task(self.settings.steps, task)
        return per_epoch * sum(phase.epochs for phase in self._of(task))

    def begins(self, task: int, epoch: int) -> bool:
        """Whether a later phase of the task begins with this epoch."""
        return epoch in [*accumulate(phase.epochs for phase in self._of(task))][:-1]

    def fresh_optimizer(self, task: int, epoch: int = 0) -> torch.optim.Optimizer:
        """A new optimizer for the phase of this epoch."""
        # In groups: torch's fused SGD cannot mix parameters that have a momentum with others.
        head = self.network.head
        groups: list[dict[str, Any]] = [
            {"params": params, "part": part}
            for group in self.network.by_age(self.parameters)
            for part in ("body", HEAD)
            if (params := [p for p in group if (p in head) == (part == HEAD)])
        ]
        optimizer: torch.optim.Optimizer = self.settings.optimizer(groups, task)
        plain = isinstance(optimizer, torch.optim.SGD) and optimizer.defaults["momentum"] == 0
        if plain and len({group["lr"] for group in optimizer.param_groups}) == 1:
            optimizer = self.settings.optimizer(self.parameters, task)  # one kernel for all
        decay = self._at(task, epoch).weight_decay
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
            if decay is not None:
                group["weight_decay"] = decay
        return optimizer

    def enter_epoch(self, task: int, epoch: int) -> None:
        """Turn gradients off for layers that do not learn."""
        self._let_the_body_learn(self._at(task, epoch).layers == "all")

    def enter_step(self, optimizer: torch.optim.Optimizer, place: Place) -> None:
        """Set the learning rate."""
        if not self.constant:
            for group in optimizer.param_groups:
                group["lr"] = self.settings.scheduler.rate(group["initial_lr"], place)

    def changed_rates(self, optimizer: torch.optim.Optimizer) -> tuple[float | None, float | None]:
        """The current learning rates of the body, and of the head if it has another; None if they
        stay as the settings say."""
        if self.constant:
            return None, None
        rates = {group.get("part"): float(group["lr"]) for group in optimizer.param_groups}
        of_head = rates.pop(HEAD, None)
        of_body = next(iter(rates.values()), of_head)
        return of_body, None if of_head == of_body else of_head

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
        if (phases := self._given(task)) is not None:
            return phases
        epochs = 1 if self.settings.epochs is None else at_task(self.settings.epochs, task)
        return [Phase(epochs=epochs, layers="all", weight_decay=None)]

    def _given(self, task: int) -> Sequence[Phase] | None:
        return self.settings.first_phases if task == 0 else self.settings.later_phases

    def _at(self, task: int, epoch: int) -> Phase:
        """The phase of this epoch; the last one has no end of its own."""
        phases = self._of(task)
        ends = accumulate(phase.epochs for phase in phases)
        began = (phase for phase, end in zip(phases, ends, strict=True) if epoch < end)
        return next(began, phases[-1])
