"""Rehearsal with knowledge distillation from the network before the task."""

import torch
from torch import Tensor

from cl_runner.config.setting_types import BufferSize, NonNegative, Positive, PositiveInt
from cl_runner.data.batches import Batch
from cl_runner.data.stream import Task
from cl_runner.models.network import Network
from cl_runner.strategies.parts.losses import (
    Mixing,
    ReplayLoss,
    distillation,
    rehearsal,
    task_loss,
    task_weight,
)
from cl_runner.strategies.parts.memory import DistilOn, Memory, Policy
from cl_runner.strategies.parts.teacher import Teacher
from cl_runner.strategies.strategy import Strategy


class RehearsalKD(Strategy):
    """L(θ) = (1 − α) · CE(θ) + α · T² · KL(p_θ* ‖ p_θ)

    CE is over the batch and samples drawn from the memory, as in `rehearsal.py`; p are the
    probabilities of the old classes at temperature T; θ* are the weights before the task.

    - `distil_on`: whether KL is over the `current` samples, those from the `memory`, or `both`
    - `loss`: see `rehearsal.py`; `mixing`, `t_squared`: see `lwf.py`
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
        alpha: NonNegative,
        T: Positive,
        mixing: Mixing,
        t_squared: bool,
        distil_on: DistilOn,
    ) -> None:
        super().__init__(network)
        self.memory = Memory(buffer_size, network, policy)
        self.replay_batch_size, self.loss = replay_batch_size, loss
        self.distil_on = distil_on
        self.alpha, self.T, self.t_squared = alpha, T, t_squared
        self.task_weight = task_weight(mixing, alpha)
        self.teacher = Teacher(network)

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        if batch.task.first:
            return {"task": task_loss(self.network(batch.x), batch)}
        replayed = self.memory.draw(batch, self.replay_batch_size, "replay")
        x = torch.cat([batch.x, replayed.x])
        logits = self.network(x)
        ce = rehearsal(logits, batch, replayed, self.loss)
        n = len(batch.y)
        slices = {"current": slice(n), "memory": slice(n, None), "both": slice(None)}
        on = slices[self.distil_on]
        kd = distillation(logits[on], self.teacher(x[on]), batch.task, self.T, self.t_squared)
        terms = {name: self.task_weight * term for name, term in ce.items()}
        return terms | {"distillation": self.alpha * kd}

    def end_task(self, task: Task) -> None:
        self.memory.learn(task, self.network)
        self.teacher.learn_from(self.network)
