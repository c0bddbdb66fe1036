"""The complete state of a run under way, as tensors and plain values: taken, and put back.

Everything else that a run depends on is a function of its settings and its position.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from cl_runner import environment
from cl_runner.alarm import Watch
from cl_runner.errors import CheckpointError, first_line
from cl_runner.randomness import global_states, set_global_states

if TYPE_CHECKING:
    from cl_runner.run import Training

State = dict[str, Any]
PARTS = ("strategy", "optimizer", "watch", "means", "evaluator", "cost")
"""Each part of a run that has a `state_dict`."""


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
    """Make a fresh run go on from this state. Raises CheckpointError if it is of another kind."""
    device = str(training.parameters[0].device)
    try:
        if training.settings.threads is None:
            torch.set_num_threads(state["environment"]["threads"])
        environment.warn_if_other(state["environment"], environment.describe(device))
        training.position = Position(**state["position"])
        if training.position.task < len(training.stream.tasks):
            task = training.stream.tasks[training.position.task]
            training.watch = Watch(task, training.parameters)
        for part in PARTS:
            getattr(training, part).load_state_dict(state[part])
        training.alarms = list(state["alarms"])
        set_global_states(state["generators"], device)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        reason = first_line(error)
        raise CheckpointError(f"checkpoint error: it does not fit this run: {reason}") from None
