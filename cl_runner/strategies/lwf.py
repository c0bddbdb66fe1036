"""Learning without forgetting: distillation from the network before the task."""

from torch import Tensor

from cl_runner.config.setting_types import NonNegative, Positive
from cl_runner.data.batches import Batch
from cl_runner.data.stream import Task
from cl_runner.models.network import Network
from cl_runner.strategies.parts.losses import Mixing, distillation, task_loss, task_weight
from cl_runner.strategies.parts.teacher import Teacher
from cl_runner.strategies.strategy import Strategy


class LwF(Strategy):
    """L(θ) = CE(θ) + α · T² · KL(p_θ* ‖ p_θ)   (Li & Hoiem 2016, arXiv:1606.09282, eq. 1 to 3)

    p are the probabilities of the old classes at temperature T; θ* are the weights before the task.

    - `mixing`: `additive`, as above (the paper), or `convex`: (1 − α) · CE(θ) + α · T² · KL
    - `t_squared`: whether to include the factor T² (Hinton et al. 2015); the paper does not
    """

    shares_first_task = True

    def __init__(
        self,
        network: Network,
        *,
        alpha: NonNegative,
        T: Positive,
        mixing: Mixing,
        t_squared: bool,
    ) -> None:
        super().__init__(network)
        self.alpha, self.T, self.t_squared = alpha, T, t_squared
        self.task_weight = task_weight(mixing, alpha)
        self.teacher = Teacher(network)

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.network(batch.x)
        task = task_loss(logits, batch)
        if batch.task.first:
            return {"task": task}
        kd = distillation(logits, self.teacher(batch.x), batch.task, self.T, self.t_squared)
        return {"task": self.task_weight * task, "distillation": self.alpha * kd}

    def end_task(self, task: Task) -> None:
        self.teacher.learn_from(self.network)
