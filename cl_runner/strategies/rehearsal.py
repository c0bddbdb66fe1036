"""Rehearsal: training on stored samples of earlier tasks along with the current ones."""

import torch
from torch import Tensor

from cl_runner.config.setting_types import BufferSize, PositiveInt
from cl_runner.data.batches import Batch
from cl_runner.data.stream import Task
from cl_runner.models.network import Network
from cl_runner.strategies.parts.losses import ReplayLoss, rehearsal, task_loss
from cl_runner.strategies.parts.memory import Memory, Policy
from cl_runner.strategies.strategy import Strategy


class Rehearsal(Strategy):
    """L(θ) = CE(θ) over the batch and samples drawn from the memory.

    Experience replay (Robins 1995; Chaudhry et al. 2019, arXiv:1902.10486). `loss`: `concat`,
    the mean over both together, or `sum` of the two means. The network sees both as one batch.
    """

    shares_first_task = True

    def __init__(
        self,
        network: Network,
        *,
        buffer_size: BufferSize,
        policy: Policy,
        replay_batch_size: PositiveInt,
        loss: ReplayLoss,
    ) -> None:
        super().__init__(network)
        self.memory = Memory(buffer_size, network, policy)
        self.replay_batch_size, self.loss = replay_batch_size, loss

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        if batch.task.first:
            return {"task": task_loss(self.network(batch.x), batch)}
        replayed = self.memory.draw(batch, self.replay_batch_size, "replay")
        logits = self.network(torch.cat([batch.x, replayed.x]))
        return rehearsal(logits, batch, replayed, self.loss)

    def end_task(self, task: Task) -> None:
        self.memory.learn(task, self.network)
