"""Gradient episodic memory: no step may raise the loss on the stored samples of any old task."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from cl_runner.config.setting_types import BufferSize, NonNegative, PositiveInt
from cl_runner.data.batches import Batch
from cl_runner.data.samples import Samples
from cl_runner.data.stream import Stream, Task
from cl_runner.models.network import Network
from cl_runner.strategies.parts.appended import size_with_stored, with_stored
from cl_runner.strategies.parts.cone import projected
from cl_runner.strategies.parts.gradients import flat
from cl_runner.strategies.parts.losses import task_loss
from cl_runner.strategies.parts.memory import Memory, Policy
from cl_runner.strategies.strategy import Strategy


class GEM(Strategy):
    """L(θ) = CE(θ), its gradient g replaced by Gᵀv + g wherever some (Gg)_t < 0

    Lopez-Paz & Ranzato 2017, arXiv:1706.08840. Row t of G is the gradient of CE on all stored
    samples of task t; v is the solution of the dual quadratic programme (`parts/cone.py`), whose
    margin favours old tasks. The share of steps that were projected is logged. `samples_per_task`
    random samples are stored of each task, as far as the policy keeps them; null: no such limit.
    `appended`: whether the stored samples also join the task's data, so that g is of them, too, as
    in the code of Hsu et al. 2018.
    """

    shares_first_task = True

    def __init__(
        self,
        network: Network,
        *,
        buffer_size: BufferSize,
        policy: Policy,
        samples_per_task: PositiveInt | None,
        margin: NonNegative,
        ridge: NonNegative,
        appended: bool,
    ) -> None:
        super().__init__(network)
        self.memory = Memory(buffer_size, network, policy)
        self.samples_per_task, self.appended = samples_per_task, appended
        self.margin, self.ridge = margin, ridge

    def training_data(self, stream: Stream, task: Task) -> Samples:
        return with_stored(self.memory, task) if self.appended else task.train

    def training_size(self, stream: Stream, task: Task) -> int:
        if not self.appended:
            return len(task.train)
        return size_with_stored(self.memory, stream, task, self.samples_per_task)

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        return {"task": task_loss(self.network(batch.x), batch)}

    def after_backward(self, batch: Batch) -> None:
        if batch.task.first:
            return
        learning = [p for p in self.network.trainable if p.requires_grad]
        g = flat([p.grad for p in learning], learning)
        G = torch.stack([self._gradient(batch, learning, old) for old in self.memory.tasks()])
        if harms := bool((G @ g < 0).any()):
            parts = projected(g, G, self.margin, self.ridge).split([p.numel() for p in learning])
            for p, part in zip(learning, parts, strict=True):
                if p.grad is not None or part.any():  # rows that rest have no gradient
                    p.grad = part.view_as(p)
        self.log("projected", harms)

    def _gradient(self, batch: Batch, learning: Sequence[Tensor], old: Tensor) -> Tensor:
        """[P]: of CE on these stored samples, by the rule of the current task."""
        stored = self.memory.samples(batch.task.train.pixels)[old]
        loss = task_loss(self.network(stored.x), replace(batch, y=stored.y))
        return flat(torch.autograd.grad(loss, learning, allow_unused=True), learning)

    def end_task(self, task: Task) -> None:
        self.memory.learn(task, self.network, at_most=self.samples_per_task)
