"""Averaged gradient episodic memory: no step may raise the loss on stored samples."""

import torch
from torch import Tensor

from cl_runner.config.setting_types import BufferSize, PositiveInt
from cl_runner.data.batches import Batch
from cl_runner.data.stream import Task
from cl_runner.models.network import Network
from cl_runner.strategies.parts.losses import task_loss
from cl_runner.strategies.parts.memory import Memory, Policy
from cl_runner.strategies.strategy import Strategy


class AGEM(Strategy):
    """L(θ) = CE(θ), its gradient g replaced by g − (g·r / r·r) r wherever g·r < 0

    Chaudhry et al. 2019, arXiv:1812.00420, eq. 11. r is the gradient of CE on samples drawn from
    the memory, g that of the batch. The share of steps that were projected is logged.
    """

    shares_first_task = True

    def __init__(
        self,
        network: Network,
        *,
        buffer_size: BufferSize,
        policy: Policy,
        samples_per_task: PositiveInt | None,
        replay_batch_size: PositiveInt,
    ) -> None:
        super().__init__(network)
        self.memory = Memory(buffer_size, network, policy)
        self.samples_per_task = samples_per_task
        self.replay_batch_size = replay_batch_size

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        return {"task": task_loss(self.network(batch.x), batch)}

    def after_backward(self, batch: Batch) -> None:
        if batch.task.first:
            return
        replayed = self.memory.draw(batch, self.replay_batch_size, "reference gradient")
        learning = [p for p in self.network.trainable if p.requires_grad]
        loss = task_loss(self.network(replayed.x), replayed)
        reference = torch.autograd.grad(loss, learning, allow_unused=True)
        pairs = [(p, r) for p, r in zip(learning, reference, strict=True) if r is not None]
        dot = sum((p.grad * r).sum() for p, r in pairs if p.grad is not None)
        if raises := bool(dot < 0):
            factor = dot / sum(r.square().sum() for _, r in pairs)
            torch._foreach_mul_([r for _, r in pairs], factor)
            for p, r in pairs:
                p.grad = -r if p.grad is None else p.grad.sub_(r)
        self.log("projected", raises)

    def end_task(self, task: Task) -> None:
        self.memory.learn(task, self.network, at_most=self.samples_per_task)
