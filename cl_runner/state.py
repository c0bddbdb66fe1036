"""The complete state of a run under way, as tensors and plain values: taken, and put back.

Everything else that a run depends on is a function of its settings and its position.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from cl_runner import environment
from cl_runner.alarm import Watch
from cl_runner.errors import CheckpointError
from cl_runner.randomness import global_states, set_global_states
from cl_runner.run_folder.states import PlainState

if TYPE_CHECKING:
    from cl_runner.run import Training

State = dict[str, Any]
PARTS = ("strategy", "optimizer", "watch", "means", "evaluator", "cost")
"""Each part of a run that has a `state_dict`."""
ADAM = {"step", "exp_avg", "exp_avg_sq"}


@dataclass(frozen=True)
class Position:
    """The next step to do; a task not yet begun is at epoch 0, step 0."""

    task: int
    epoch: int = 0
    step: int = 0  # of the epoch


def take(training: Training) -> State:
    """The state between two steps, or between two tasks."""
    device = str(training.parameters[0].device)
    return {
        "position": asdict(training.position),
        **{part: getattr(training, part).state_dict() for part in PARTS},
        "alarms": list(training.alarms),
        "generators": global_states(device),
        "environment": environment.describe(device),
    }


def put_back(training: Training, state: State) -> None:
    """Make a fresh run go on from this state. Raises CheckpointError if it is of another kind;
    nothing but the run in memory has been changed then."""
    device = str(training.parameters[0].device)
    try:
        PlainState.model_validate(state)
        _check_tensors(training, state)
        if training.settings.threads is None:
            torch.set_num_threads(state["environment"]["threads"])
        training.position = Position(**state["position"])
        if training.position.task < len(training.stream.tasks):
            task = training.stream.tasks[training.position.task]
            training.watch = Watch(task, training.parameters)
        for part in PARTS:
            getattr(training, part).load_state_dict(state[part])
        training.alarms = list(state["alarms"])
        set_global_states(state["generators"], device)
    except Exception as error:  # whatever torch raises on what it did not write
        reason = " ".join(str(error).splitlines()[:3])[:200]
        raise CheckpointError(f"checkpoint error: it does not fit this run: {reason}") from None


def warn_if_other(training: Training, state: State) -> None:
    """One warning if the run goes on where its last bits may come out differently."""
    device = str(training.parameters[0].device)
    environment.warn_if_other(state["environment"], environment.describe(device))


def _check_tensors(training: Training, state: State) -> None:
    """Raise ValueError unless strategy and optimizer have the keys, shapes and types of this run's:
    torch would take over some that only a later step stumbles on."""
    _check_alike("strategy", state["strategy"], training.strategy.state_dict())
    fresh = training.optimizer.state_dict()["param_groups"]
    _check_alike("param_groups", state["optimizer"]["param_groups"], fresh)
    parameters = [p for group in training.optimizer.param_groups for p in group["params"]]
    known = isinstance(training.optimizer, torch.optim.SGD | torch.optim.Adam)
    for number, kept in state["optimizer"]["state"].items() if known else ():
        shape = parameters[number].shape
        tensors = {key: value for key, value in kept.items() if value is not None}
        names = {"momentum_buffer"} if "momentum_buffer" in kept else ADAM
        if kept.keys() != names or any(
            value.shape != (() if key == "step" else shape) for key, value in tensors.items()
        ):
            raise ValueError(f"the optimizer's state of parameter {number} is of another kind")


def _check_alike(place: str, saved: Any, ours: Any) -> None:
    """Raise ValueError, naming the place, where they are not of the same keys, types and shapes."""
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
        raise ValueError(f"{place} is of another kind")
    for name, key in below:
        _check_alike(name, saved[key], ours[key])
