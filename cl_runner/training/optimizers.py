"""torch's optimizers in their fastest form; the learning rate may differ between tasks."""

from __future__ import annotations

from collections.abc import Iterable
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
    momentum: Fraction,
    weight_decay: PerTask[NonNegative],
    nesterov: bool,
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum, for this task."""
    return torch.optim.SGD(
        parameters,
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
    beta1: Fraction,
    beta2: Fraction,
    eps: Positive,
    weight_decay: PerTask[NonNegative],
    decoupled: bool,
) -> torch.optim.Optimizer:
    """Adam (Kingma & Ba 2015), for this task; weight decay is added to the gradient, or
    `decoupled` from it (AdamW, Loshchilov & Hutter 2019)."""
    return torch.optim.Adam(
        parameters,
        lr=at_task(lr, task),
        betas=(beta1, beta2),
        eps=eps,
        weight_decay=at_task(weight_decay, task),
        decoupled_weight_decay=decoupled,
        fused=True,
    )
