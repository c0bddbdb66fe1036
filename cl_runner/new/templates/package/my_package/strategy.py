"""My method: logits of old classes stay near those of the network before the task."""

from cl_runner.config.setting_types import NonNegative
from cl_runner.data.batches import Batch
from cl_runner.data.stream import Task
from cl_runner.models.network import Network
from cl_runner.strategies.parts.losses import task_loss
from cl_runner.strategies.parts.teacher import Teacher
from cl_runner.strategies.strategy import Strategy
from torch import Tensor


class MyPackage(Strategy):
    """L(θ) = CE(θ) + weight · mean of (z − z*)² over old classes

    z are the logits, z* those of the network before the task.
    """

    shares_first_task = True  # there it trains as fine-tuning does

    def __init__(self, network: Network, *, weight: NonNegative) -> None:
        super().__init__(network)
        self.weight = weight
        self.teacher = Teacher(network)

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.network(batch.x)
        terms = {"task": task_loss(logits, batch)}
        if not batch.task.first:
            gap = (logits - self.teacher(batch.x))[:, : batch.task.old]
            terms["my_package"] = self.weight * gap.square().mean()
        return terms

    def end_task(self, task: Task) -> None:
        self.teacher.learn_from(self.network)
