"""The vocabulary of the equations: the loss of a task, rehearsal, distillation.

B samples, C classes of the stream; in regression one output. The quadratic penalty has a file of
its own, `quadratic.py`.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from cl_runner.data.batches import Batch
from cl_runner.data.stream import Task
from cl_runner.errors import ConfigError

Mixing = Literal["additive", "convex"]
ReplayLoss = Literal["concat", "sum"]


def task_loss(outputs: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy; in regression the mean over the batch of (y − f(x))². outputs: [B, C]."""
    if batch.task.regression:
        return F.mse_loss(outputs.squeeze(1), batch.y)
    return cross_entropy(outputs, batch)


def cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    """Mean over the batch of −log p(y | x), the softmax taken over the classes that compete.

    logits: [B, C]. Which classes compete for a sample is asked of (its label, the current task)
    here and never stored with it, so replayed samples compete by today's rule.
    """
    competing = batch.task.competing
    if competing is not None:
        logits = logits + competing[batch.y]
    return F.cross_entropy(logits, batch.y)


def rehearsal(logits: Tensor, batch: Batch, replayed: Batch, loss: ReplayLoss) -> dict[str, Tensor]:
    """The loss of current and replayed samples, as two terms.

    logits: [B + R, C] of the current and then the replayed samples. `concat`: together the mean
    over all B + R samples; `sum`: the mean over B plus the mean over R.
    """
    current, old = logits.split([len(batch.y), len(replayed.y)])
    share = len(replayed.y) / len(logits)
    weights = (1 - share, share) if loss == "concat" else (1.0, 1.0)
    return {
        "task": weights[0] * task_loss(current, batch),
        "replay": weights[1] * task_loss(old, replayed),
    }


def distillation(student: Tensor, teacher: Tensor, task: Task, T: float, t_squared: bool) -> Tensor:
    """T² · KL(softmax(teacher / T) ‖ softmax(student / T)) over the old classes.

    student, teacher: logits [B, C]. Mean over the batch; summed over the groups of old classes
    that compete among themselves: one group, or one an old task in a task-incremental stream.
    Without T² the gradient shrinks as 1/T² (Hinton et al. 2015, section 2). In regression it is the
    mean squared difference of the two outputs, to which the above tends for large T.
    """
    if task.regression:
        return F.mse_loss(student, teacher)
    divergence = student.new_zeros(())
    for old in task.old_groups:
        columns = slice(old.start, old.stop)
        divergence = divergence + F.kl_div(
            F.log_softmax(student[:, columns] / T, dim=1),
            F.log_softmax(teacher[:, columns] / T, dim=1),
            reduction="batchmean",
            log_target=True,
        )
    return T**2 * divergence if t_squared else divergence


def task_weight(mixing: Mixing, alpha: float) -> float:
    """The factor before the task's loss when α is the factor before distillation.

    `additive`: 1, `convex`: 1 − α. Raises ConfigError for a convex mixing with α above 1.
    """
    if mixing == "additive":
        return 1.0
    if alpha > 1:
        raise ConfigError.of("alpha", alpha, "with mixing=convex it must be a number from 0 to 1")
    return 1 - alpha
