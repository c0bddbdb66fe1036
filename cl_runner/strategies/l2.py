"""L2 anchor: the plainest penalty against forgetting."""

from torch import Tensor

from cl_runner.config.setting_types import NonNegative
from cl_runner.data.batches import Batch
from cl_runner.data.stream import Task
from cl_runner.models.network import Network
from cl_runner.strategies.parts.fisher import ones
from cl_runner.strategies.parts.losses import task_loss
from cl_runner.strategies.parts.quadratic import Quadratic
from cl_runner.strategies.strategy import Strategy


class L2(Strategy):
    """L(θ) = CE(θ) + weight · Σᵢ (θᵢ − θ*ᵢ)², θ* the weights before the task.

    As in Hsu et al. 2018, arXiv:1810.12488, without a factor 1/2. Nothing pulls at rows of the
    classifier that the task brings, unless all rows are one layer.
    """

    shares_first_task = True

    def __init__(self, network: Network, *, weight: NonNegative) -> None:
        super().__init__(network)
        self.weight = weight
        self.springs = Quadratic(network.trainable)

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        terms = {"task": task_loss(self.network(batch.x), batch)}
        if not batch.task.first:
            terms["l2"] = self.springs(self.network.trainable, self.weight)
        return terms

    def end_task(self, task: Task) -> None:
        self.springs.replace(ones(self.network), self.network.theta)

    def curvature(self) -> float:
        return 2 * self.weight * self.springs.weight.max().item()
