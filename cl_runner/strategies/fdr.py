"""Function distance regularization: stored samples keep the probabilities after their task."""

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_runner.config.setting_types import BufferSize, NonNegative, PositiveInt
from cl_runner.data.batches import Batch
from cl_runner.data.samples import Samples
from cl_runner.data.stream import Task
from cl_runner.models.network import Network, evaluation_mode
from cl_runner.strategies.parts.losses import refuse_real_numbers, task_loss
from cl_runner.strategies.parts.memory import Memory, Policy
from cl_runner.strategies.strategy import Strategy


class FDR(Strategy):
    """L(θ) = CE(θ) on a batch; then, as a step of its own, L(θ) = α · ‖p_θ(x) − p‖₂

    Benjamin et al. 2019, arXiv:1805.08289, in the form of Buzzega et al. 2020. x are drawn from
    the memory; p are the probabilities of all classes that the network gave when x's task ended.
    Mean over samples of the norm, which is not squared. Which classes the loss lets compete plays
    no part. `replacement`: whether a draw may hold a sample twice.
    """

    shares_first_task = True

    def __init__(
        self,
        network: Network,
        *,
        buffer_size: BufferSize,
        policy: Policy,
        replay_batch_size: PositiveInt,
        replacement: bool,
        alpha: NonNegative,
    ) -> None:
        super().__init__(network)
        refuse_real_numbers(network, "FDR")
        self.memory = Memory(buffer_size, network, policy, {"p": (network.classes,)})
        self.replay_batch_size, self.replacement = replay_batch_size, replacement
        self.alpha = alpha

    def turns(self, task: Task) -> int:
        return 1 if task.first else 2

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        if batch.turn == 0:
            return {"task": task_loss(self.network(batch.x), batch)}
        drawn = self.memory.draw(batch, self.replay_batch_size, "replay", self.replacement)
        p = F.softmax(self.network(drawn.x), dim=1)
        distance = torch.linalg.vector_norm(p - drawn.columns["p"], dim=1)
        return {"distance": self.alpha * distance.mean()}

    def end_task(self, task: Task) -> None:
        self.memory.learn(task, self.network, self._probabilities)

    @torch.no_grad()
    def _probabilities(self, samples: Samples) -> dict[str, Tensor]:
        with evaluation_mode(self.network):
            parts = [F.softmax(self.network(chunk.x), dim=1) for chunk in samples.chunks(1000)]
        return {"p": torch.cat(parts)}
