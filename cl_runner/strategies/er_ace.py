"""Experience replay with asymmetric cross-entropy: new samples do not push old classes away."""

import torch
from torch import Tensor

from cl_runner.config.setting_types import BufferSize, PositiveInt
from cl_runner.data.batches import Batch
from cl_runner.models.network import Network
from cl_runner.strategies.parts.losses import refuse_real_numbers, task_loss
from cl_runner.strategies.parts.memory import Memory, StepPolicy
from cl_runner.strategies.strategy import Strategy


class ERACE(Strategy):
    """L(θ) = CE(θ; C_batch) on the batch + CE(θ; C_seen) on samples drawn from the memory

    Caccia et al. 2022, arXiv:2104.05025, eq. 3. On the batch only the classes that occur in it
    compete; on stored samples those that compete in this task. The memory takes in each batch
    after its step. `replacement`: whether a draw may hold a sample twice.
    """

    def __init__(
        self,
        network: Network,
        *,
        buffer_size: BufferSize,
        policy: StepPolicy,
        replay_batch_size: PositiveInt,
        replacement: bool,
    ) -> None:
        super().__init__(network)
        refuse_real_numbers(network, "ERACE")
        self.memory = Memory(buffer_size, network, policy)
        self.replay_batch_size, self.replacement = replay_batch_size, replacement

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.network(batch.x)
        absent = torch.ones_like(logits[0], dtype=torch.bool)
        absent[batch.y] = False
        terms = {"task": task_loss(logits.masked_fill(absent, -torch.inf), batch)}
        if self.memory.stored > 0:
            replayed = self.memory.draw(batch, self.replay_batch_size, "replay", self.replacement)
            terms["replay"] = task_loss(self.network(replayed.x), replayed)
        return terms

    def after_step(self, batch: Batch) -> None:
        self.memory.insert(batch)
