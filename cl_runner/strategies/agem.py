"""Averaged gradient episodic memory: no step may raise the loss on stored samples."""

import torch
from torch import Tensor

from cl_runner.config.setting_types import BufferSize, NonNegative, PositiveInt
from cl_runner.data.batches import Batch
from cl_runner.data.stream import Task
from cl_runner.models.network import Network
from cl_runner.strategies.parts.losses import task_loss
from cl_runner.strategies.parts.memory import Memory, Policy
from cl_runner.strategies.strategy import Strategy

SMALLEST = 1e-30
"""Of r · r: below it the squares in float32 lose their digits, and r its direction."""


class AGEM(Strategy):
    """L(θ) = CE(θ), its gradient g replaced by g − (g·r / r·r) r wherever g·r < 0

    Chaudhry et al. 2019, arXiv:1812.00420, eq. 11. r is the gradient of CE on samples drawn from
    the memory, none twice in a step and all of them if they are fewer, as in the authors' code; g
    is that of the batch. The share of steps that were projected is logged.

    - `ridge`: added to r · r. Where the memory is learned so well that r · r is far below it, the
      step is hardly projected (1e-7 in van de Ven et al. 2022; the paper has none)
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
        ridge: NonNegative,
    ) -> None:
        super().__init__(network)
        self.memory = Memory(buffer_size, network, policy)
        self.samples_per_task = samples_per_task
        self.replay_batch_size, self.ridge = replay_batch_size, ridge

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        return {"task": task_loss(self.network(batch.x), batch)}

    def after_backward(self, batch: Batch) -> None:
        if batch.task.first:
            return
        replayed = self.memory.draw(batch, self.replay_batch_size, "reference gradient", False)
        learning = [p for p in self.network.trainable if p.requires_grad]
        loss = task_loss(self.network(replayed.x), replayed)
        reference = torch.autograd.grad(loss, learning, allow_unused=True)
        pairs = [(p, r) for p, r in zip(learning, reference, strict=True) if r is not None]
        dot = sum(_dot(p.grad, r) for p, r in pairs if p.grad is not None)
        square = sum(_dot(r, r) for _, r in pairs) + self.ridge if dot < 0 else 0.0
        if raises := bool(square > SMALLEST):
            torch._foreach_mul_([r for _, r in pairs], dot / square)
            for p, r in pairs:
                p.grad = -r if p.grad is None else p.grad.sub_(r)
        self.log("projected", raises)

    def end_task(self, task: Task) -> None:
        self.memory.learn(task, self.network, at_most=self.samples_per_task)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Without a tensor of products: what costs here is fresh memory."""
    return a.reshape(-1).dot(b.reshape(-1))
