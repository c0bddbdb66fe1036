"""Fine-tuning: the lower bound. It does nothing against forgetting."""

from torch import Tensor

from cl_runner.data.batches import Batch
from cl_runner.strategies.parts.losses import task_loss
from cl_runner.strategies.strategy import Strategy


class Finetune(Strategy):
    """L(θ) = CE(θ) on the samples of the current task."""

    shares_first_task = True

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        return {"task": task_loss(self.network(batch.x), batch)}
