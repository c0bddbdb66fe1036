"""Rehearsal with knowledge distillation: stored samples and the network before the task."""

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
    """L(θ) = (1 − α) · CE(θ) + α · T² · KL(p_θ* ‖ p_θ), p softened by T, over the old classes.

    CE as in `rehearsal.py`; KL over `distil_on`: the `current` samples, those from the `memory`,
    or `both`; θ* are the weights before the task. `mixing`, `t_squared`: see `lwf.py`."""

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
        self.replay_batch_size, self.loss, self.distil_on = replay_batch_size, loss, distil_on
        self.alpha, self.T, self.t_squared = alpha, T, t_squared
        self.task_weight = task_weight(mixing, alpha)
        self.teacher = Teacher(network)

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        if batch.task.first:
            return {"task": task_loss(self.network(batch.x), batch)}
        replayed, n = self.memory.draw(batch, self.replay_batch_size), len(batch.y)
        x = torch.cat([batch.x, replayed.x])
        logits = self.network(x)
        terms = rehearsal(logits, batch, replayed, self.loss)
        on = {"current": slice(n), "memory": slice(n, None), "both": slice(None)}[self.distil_on]
        kd = distillation(logits[on], self.teacher(x[on]), batch.task, self.T, self.t_squared)
        terms = {name: self.task_weight * term for name, term in terms.items()}
        return terms | {"distillation": self.alpha * kd}

    def end_task(self, task: Task) -> None:
        self.memory.learn(task, self.network)
        self.teacher.learn_from(self.network)
