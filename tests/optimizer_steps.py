"""The optimizer steps of a run, seen through torch's own hooks, whoever takes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)


@dataclass
class Step:
    """One step. Tensors are in the order of the optimizer's groups and their parameters."""

    parameters: list[Tensor]  # the optimizer's own, not copies
    known: int  # how many of them had a state before
    settings: dict[str, Any]  # of its first group: lr, weight_decay, …
    before: list[Tensor]
    gradients: list[Tensor | None]
    after: list[Tensor] = field(default_factory=list)


@contextmanager
def optimizer_steps() -> Iterator[list[Step]]:
    """All steps that any optimizer of this process takes while entered, in order."""
    steps: list[Step] = []

    def begin(optimizer: Optimizer, *_: Any) -> None:
        groups = optimizer.param_groups
        parameters = [p for group in groups for p in group["params"]]
        gradients = [None if p.grad is None else p.grad.clone() for p in parameters]
        settings = {key: value for key, value in groups[0].items() if key != "params"}
        known = len(optimizer.state)
        steps.append(Step(parameters, known, settings, copies(parameters), gradients))

    def end(optimizer: Optimizer, *_: Any) -> None:
        steps[-1].after = copies(steps[-1].parameters)

    hooks = [register_optimizer_step_pre_hook(begin), register_optimizer_step_post_hook(end)]
    try:
        yield steps
    finally:
        for hook in hooks:
            hook.remove()


def copies(tensors: list[Tensor]) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in tensors]
