"""The position of a run, and the check that a saved state fits it.

A state consists of tensors and plain values. Everything else that a run depends on is a function of
its settings and its position.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cl_runner.run_folder.checkpoint import State
from cl_runner.run_folder.states import PlainState
from cl_runner.strategies.strategy import Strategy

PARTS = (
    "strategy", "optimizer", "watch", "means", "logged", "evaluator", "probe", "early_stopping",
    "cost",
)  # fmt: skip
"""The parts of a run that have a `state_dict`."""
ADAM = {"step", "exp_avg", "exp_avg_sq"}
ADAGRAD = {"step", "sum"}


@dataclass(frozen=True)
class Position:
    """The next step to do; epoch 0, step 0 of a task that has not begun."""

    task: int
    epoch: int = 0
    step: int = 0  # of the epoch


def check_fits(state: State, strategy: Strategy, optimizer: torch.optim.Optimizer) -> None:
    """Raise ValueError unless the state has the keys, shapes and types of this strategy and
    optimizer: torch would accept some others, and only a later step would fail."""
    check_strategy(state, strategy)
    _check_body(state["strategy"], strategy)
    if kept := state["early_stopping"]["weights"]:
        network = strategy.network.state_dict()
        _check_alike("early_stopping.weights", _shaped(kept), _shaped(network))
    fresh = optimizer.state_dict()["param_groups"]
    _check_alike("param_groups", state["optimizer"]["param_groups"], fresh)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    known = isinstance(optimizer, torch.optim.SGD | torch.optim.Adam | torch.optim.Adagrad)
    if known:
        _check_known(state["optimizer"]["state"], parameters, optimizer)
    elif type(optimizer).__module__.startswith("torch.optim."):
        _check_by_a_step(state["optimizer"]["state"], parameters, optimizer)


def _check_known(
    saved: dict[int, Any], parameters: Sequence[Tensor], optimizer: torch.optim.Optimizer
) -> None:
    for number, kept in saved.items():
        shape = parameters[number].shape
        tensors = {key: value for key, value in kept.items() if value is not None}
        if isinstance(optimizer, torch.optim.Adagrad):
            names = ADAGRAD
        else:
            names = {"momentum_buffer"} if "momentum_buffer" in kept else ADAM
        if "max_exp_avg_sq" in kept and optimizer.defaults.get("amsgrad"):
            names = names | {"max_exp_avg_sq"}
        if kept.keys() != names or any(
            value.shape != (() if key == "step" else shape) for key, value in tensors.items()
        ):
            raise ValueError(f"the optimizer's state of parameter {number} does not match")


def _check_by_a_step(
    saved: dict[int, Any], parameters: Sequence[Tensor], optimizer: torch.optim.Optimizer
) -> None:
    """Of any other optimizer of torch's: compare with what its class stores after a step on
    parameters like these."""
    fresh = copy.copy(optimizer)
    fresh.state = defaultdict(dict)
    alike = [nn.Parameter(torch.zeros_like(parameter)) for parameter in parameters]
    for number, parameter in enumerate(alike):
        parameter.grad = torch.zeros_like(parameter) if number in saved else None
    each = iter(alike)
    fresh.param_groups = [
        {**group, "params": [next(each) for _ in group["params"]]}
        for group in optimizer.param_groups
    ]
    fresh.step()
    for number, kept in saved.items():
        place = f"the optimizer's state of parameter {number}"
        _check_alike(place, kept, fresh.state[alike[number]])


def check_strategy(state: State, strategy: Strategy) -> None:
    """The same for what the strategy remembers, the network's weights included."""
    PlainState.model_validate(state)
    _check_alike("strategy", _shaped(state["strategy"]), _shaped(strategy.state_dict()))


def _check_body(saved: dict[str, Any], strategy: Strategy) -> None:
    """Features were computed with the weights that a body which is skipped has now."""
    if not strategy.network.skips_body:
        return
    for name, ours in strategy.network.body.state_dict(prefix="network.body.").items():
        if isinstance(ours, Tensor) and not torch.equal(saved[name].cpu(), ours.cpu()):
            raise ValueError("its frozen body had other weights then")


def _shaped(strategy: Any) -> Any:
    """The entries whose shape is fixed. A module's extra state may grow, and the module checks it
    itself."""
    if not isinstance(strategy, dict):
        return strategy
    grows = (key for key in strategy if str(key).endswith("_extra_state"))
    return {**strategy, **dict.fromkeys(grows)}


def _check_alike(place: str, saved: Any, ours: Any) -> None:
    """Raise ValueError, which names the place, unless keys, types and shapes are the same."""
    if isinstance(ours, dict):
        alike = isinstance(saved, dict) and saved.keys() == ours.keys()
        below = [(f"{place}.{key}", key) for key in ours]
    elif isinstance(ours, list | tuple):
        alike = isinstance(saved, list | tuple) and len(saved) == len(ours)
        below = [(place, number) for number in range(len(ours))]
    elif isinstance(ours, torch.Tensor):
        alike = isinstance(saved, torch.Tensor)
        alike = alike and (saved.shape, saved.dtype) == (ours.shape, ours.dtype)
        below = []
    else:
        numbers = isinstance(ours, int | float) and isinstance(saved, int | float)
        alike = type(saved) is type(ours) or (numbers and not isinstance(saved, bool))
        below = []
    if not alike:
        raise ValueError(f"{place} does not match")
    for name, key in below:
        _check_alike(name, saved[key], ours[key])
