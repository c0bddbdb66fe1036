"""torch's optimizers in their fastest form; the learning rate may differ between tasks, and between
the head and the other layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import torch
from torch import nn

from cl_runner.config.setting_types import Fraction, NonNegative, PerTask, Positive, at_task
from cl_runner.config.targets import target

Parameters: TypeAlias = Iterable[nn.Parameter] | Iterable[dict[str, Any]]
"""What torch's optimizers accept: parameters, or groups of them."""


@target
def sgd(
    parameters: Parameters,
    task: int,
    *,
    lr: PerTask[NonNegative],
    head_lr: PerTask[NonNegative] | None,
    momentum: Fraction,
    weight_decay: PerTask[NonNegative],
    nesterov: bool,
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum, for this task."""
    return torch.optim.SGD(
        with_rates(parameters, head_lr, task),
        lr=at_task(lr, task),
        momentum=momentum,
        weight_decay=at_task(weight_decay, task),
        nesterov=nesterov and momentum > 0,
        fused=True,
    )


@target
def adam(
    parameters: Parameters,
    task: int,
    *,
    lr: PerTask[NonNegative],
    head_lr: PerTask[NonNegative] | None,
    beta1: Fraction,
    beta2: Fraction,
    eps: Positive,
    weight_decay: PerTask[NonNegative],
    decoupled: bool,
) -> torch.optim.Optimizer:
    """Adam (Kingma & Ba 2015), for this task; weight decay is added to the gradient, or
    `decoupled` from it (AdamW, Loshchilov & Hutter 2019)."""
    return torch.optim.Adam(
        with_rates(parameters, head_lr, task),
        lr=at_task(lr, task),
        betas=(beta1, beta2),
        eps=eps,
        weight_decay=at_task(weight_decay, task),
        decoupled_weight_decay=decoupled,
        fused=True,
    )


@target
def adagrad(
    parameters: Parameters,
    task: int,
    *,
    lr: PerTask[NonNegative],
    head_lr: PerTask[NonNegative] | None,
    eps: Positive,
    weight_decay: PerTask[NonNegative],
) -> torch.optim.Optimizer:
    """Adagrad (Duchi et al. 2011), for this task."""
    return torch.optim.Adagrad(
        with_rates(parameters, head_lr, task),
        lr=at_task(lr, task),
        eps=eps,
        weight_decay=at_task(weight_decay, task),
    )


def clip_gradient(parameters: Sequence[nn.Parameter], most: float) -> None:
    """Scale the gradients together to at most this norm. Those that a strategy has kept from
    `after_backward` stay as they are."""
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad = parameter.grad.clone()
    nn.utils.clip_grad_norm_(parameters, most)


HEAD = "head"
"""The value of `part` in a parameter group of the classifier or an inserted layer."""


def with_rates(
    parameters: Parameters, head_lr: PerTask[NonNegative] | None, task: int
) -> Parameters:
    """The groups, those of the head with a rate of their own unless that is None."""
    if head_lr is None:
        return parameters
    rate = at_task(head_lr, task)
    rated: list[Any] = [
        {**group, "lr": rate} if isinstance(group, dict) and group.get("part") == HEAD else group
        for group in parameters
    ]
    return rated
