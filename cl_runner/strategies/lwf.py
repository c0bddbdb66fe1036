"""Learning without forgetting: distillation from the network before the task."""

from typing import Literal

from torch import Tensor

from cl_runner.config.setting_types import NonNegative, Positive
from cl_runner.data.batches import Batch
from cl_runner.data.stream import Task
from cl_runner.models.network import Network
from cl_runner.strategies.parts.losses import task_loss, task_weight, with_new_outputs
from cl_runner.strategies.parts.teacher import Teacher
from cl_runner.strategies.strategy import Strategy


class LwF(Strategy):
    """L(θ) = CE(θ) + α · T² · KL(p_θ* ‖ p_θ)   (Li & Hoiem 2016, arXiv:1606.09282, eq. 1 to 3)

    p are the probabilities of the old classes at temperature T; θ* are the weights before the task.

    - `mixing`: `additive`, as above (the paper), or `convex`: (1 − α) · CE(θ) + α · T² · KL. By the
      number k of the task, from 1: `by_task`, CE / k + (1 − 1/k) · α · T² · KL, as samples of old
      tasks would weigh (van de Ven & Tolias 2019, arXiv:1904.07734), or `per_old_task`, CE +
      (k − 1) · α · T² · KL (van de Ven et al. 2022). In both KL is the mean over old tasks where
      each has its own outputs; otherwise it is their sum
    - `outputs`: whether p is over the `old` classes or over `all` that compete with them, so that
      it also holds new outputs where the network before the task had them
    - `t_squared`: whether to include the factor T² (Hinton et al. 2015); the paper does not
    - `class_mean`: whether KL is divided by the number of its classes, as in the first code of van
      de Ven & Tolias 2019
    """

    shares_first_task = True

    def __init__(
        self,
        network: Network,
        *,
        alpha: NonNegative,
        T: Positive,
        mixing: Literal["additive", "convex", "by_task", "per_old_task"],
        outputs: Literal["old", "all"],
        t_squared: bool,
        class_mean: bool,
    ) -> None:
        super().__init__(network)
        self.alpha, self.T, self.t_squared, self.class_mean = alpha, T, t_squared, class_mean
        self.mixing, self.outputs = mixing, outputs
        self.task_weight = task_weight("convex" if mixing == "convex" else "additive", alpha)
        self.teacher = Teacher(network)

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        logits, task = self.network(batch.x), batch.task
        if task.first:
            return {"task": task_loss(logits, batch)}
        teacher, groups = self.teacher(batch.x), task.old_groups
        if self.outputs == "all":
            teacher, groups = with_new_outputs(teacher, task)
        kd = task.likelihood.distillation(
            logits, teacher, groups, self.T, self.t_squared, self.class_mean
        )
        ours, theirs = self._weights(task.index, len(groups))
        return {"task": ours * task_loss(logits, batch), "distillation": theirs * kd}

    def _weights(self, old_tasks: int, summed: int) -> tuple[float, float]:
        """The factors of CE and of KL, which is a sum over so many groups of outputs."""
        if self.mixing == "by_task":
            return 1 / (old_tasks + 1), old_tasks / (old_tasks + 1) * self.alpha / summed
        if self.mixing == "per_old_task":
            return 1.0, old_tasks * self.alpha / summed
        return self.task_weight, self.alpha

    def end_task(self, task: Task) -> None:
        self.teacher.learn_from(self.network)
