"""The terms of the equations: the loss of a task, rehearsal, distillation.

B samples; C classes of the stream, or one output in regression. The quadratic penalty is in
`quadratic.py`.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from cl_runner.data.batches import Batch
from cl_runner.data.likelihood import Categorical
from cl_runner.data.stream import Task
from cl_runner.errors import ConfigError
from cl_runner.models.network import Network

Mixing = Literal["additive", "convex"]
ReplayLoss = Literal["concat", "sum", "by_task"]
ReplaySteps = Literal["concat", "sum", "by_task", "in_turn"]
ReplayWay = Literal["concat", "sum", "by_task", "in_turn", "appended"]


def task_loss(outputs: Tensor, batch: Batch) -> Tensor:
    """Mean over the batch of −log p(y | x): cross-entropy, or in regression the squared error.

    outputs: [B, C]. A sample's label and the current task decide here which classes compete. That
    is never stored with the sample, so replayed samples follow the rule of the current task.
    """
    task = batch.task
    return task.likelihood.loss(outputs, batch.y, task.competing)


def rehearsal(logits: Tensor, batch: Batch, replayed: Batch, loss: ReplayLoss) -> dict[str, Tensor]:
    """The loss of current and replayed samples, as two terms.

    logits: [B + R, C], first the current, then the replayed samples. `concat`: the terms add up to
    the mean over all B + R samples; `sum`: to the mean over B plus the mean over R; `by_task`: to
    1/k of the mean over B plus 1 − 1/k of that over R at the k-th task (van de Ven et al. 2022).
    """
    current, old = logits.split([len(batch.y), len(replayed.y)])
    tasks = batch.task.index + 1
    share = len(replayed.y) / len(logits) if loss == "concat" else 1 - 1 / tasks
    weights = (1.0, 1.0) if loss == "sum" else (1 - share, share)
    return {
        "task": weights[0] * task_loss(current, batch),
        "replay": weights[1] * task_loss(old, replayed),
    }


def distillation(student: Tensor, teacher: Tensor, task: Task, T: float, t_squared: bool) -> Tensor:
    """T² · KL(softmax(teacher / T) ‖ softmax(student / T)) over the old classes; in regression the
    mean squared difference of the two outputs.

    student, teacher: [B, C]. Mean over the batch, sum over the groups of old classes that compete
    with each other: one group, or one per old task in a task-incremental stream.
    """
    return task.likelihood.distillation(student, teacher, task.old_groups, T, t_squared)


def with_new_outputs(teacher: Tensor, task: Task) -> tuple[Tensor, list[range]]:
    """The teacher's logits [B, C] and the groups of outputs to distil over: all that compete now,
    not the old ones alone, where one rule holds for every label; else the old groups."""
    if task.competing is not None:
        return teacher, task.old_groups
    # A class that the teacher does not have has p = 0; −∞ would be 0 · ∞ there.
    return teacher.clamp(min=-1e30), [task.candidates]


def refuse_real_numbers(network: Network, strategy: str) -> None:
    """Raise ConfigError in regression, for a strategy whose equation is about classes."""
    if not isinstance(network.likelihood, Categorical):
        allowed = "needs classes, and the targets of this data set are real numbers"
        raise ConfigError.of("_target_", strategy, allowed, "use another strategy")


def refuse_features(network: Network, strategy: str) -> None:
    """Raise ConfigError where the network takes features, for a strategy that models pictures."""
    if network.takes_features:
        allowed = "needs pictures, and here the network takes features"
        hint = "use another strategy, or model.frozen=false"
        raise ConfigError.of("_target_", strategy, allowed, hint)


def task_weight(mixing: Mixing, alpha: float) -> float:
    """The factor of the task's loss, when α is the factor of distillation.

    `additive`: 1; `convex`: 1 − α. Raises ConfigError for convex mixing with α above 1.
    """
    if mixing == "additive":
        return 1.0
    if alpha > 1:
        raise ConfigError.of("alpha", alpha, "with mixing=convex it must be a number from 0 to 1")
    return 1 - alpha
