"""Rehearsal: training on stored samples of earlier tasks along with the current ones."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from cl_runner.config.setting_types import BufferSize, PositiveInt
from cl_runner.data.batches import Batch
from cl_runner.data.stream import Task
from cl_runner.errors import ConfigError
from cl_runner.models.network import Network
from cl_runner.strategies.parts.losses import ReplaySteps, rehearsal, task_loss
from cl_runner.strategies.parts.memory import Fill, Memory, Policy
from cl_runner.strategies.strategy import Strategy


class Rehearsal(Strategy):
    """L(θ) = CE(θ) over the batch and samples drawn from the memory.

    Experience replay (Robins 1995; Chaudhry et al. 2019, arXiv:1902.10486).

    - `loss`: `concat`, the mean over both together; `sum` of the two means; `by_task`, 1/k of the
      first and 1 − 1/k of the second at the k-th task (van de Ven et al. 2022); `in_turn`, a step
      on each (Aljundi et al. 2019). The network sees both as one batch, unless in turn
    - `fill`: the memory takes in samples after each `task` or, as in online learning, each `step`
    - `replacement`: whether a sample may be drawn twice in a step
    - `iterations`: steps on each batch, each with a new draw; in turn, as many pairs of steps
    """

    shares_first_task: ClassVar[bool | Mapping[str, Any]] = {"fill": "task", "iterations": 1}

    def __init__(
        self,
        network: Network,
        *,
        buffer_size: BufferSize,
        policy: Policy,
        replay_batch_size: PositiveInt,
        loss: ReplaySteps,
        fill: Fill,
        replacement: bool,
        iterations: PositiveInt,
    ) -> None:
        super().__init__(network)
        if fill == "step" and policy == "herding":
            allowed = "chooses among the samples of a whole task, so fill=step cannot use it"
            raise ConfigError.of("policy", policy, allowed, "fill=task or policy=reservoir")
        self.memory = Memory(buffer_size, network, policy)
        self.replay_batch_size, self.loss, self.fill = replay_batch_size, loss, fill
        self.replacement, self.iterations = replacement, iterations

    def turns(self, task: Task) -> int:
        replays = self.fill == "step" or not task.first
        return self.iterations * (2 if self.loss == "in_turn" and replays else 1)

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        if self.memory.stored == 0 or (self.loss == "in_turn" and batch.turn % 2 == 0):
            return {"task": task_loss(self.network(batch.x), batch)}
        replayed = self.memory.draw(batch, self.replay_batch_size, "replay", self.replacement)
        if self.loss == "in_turn":
            return {"replay": task_loss(self.network(replayed.x), replayed)}
        logits = self.network(torch.cat([batch.x, replayed.x]))
        return rehearsal(logits, batch, replayed, self.loss)

    def after_step(self, batch: Batch) -> None:
        if self.fill == "step" and batch.turn == self.turns(batch.task) - 1:
            self.memory.insert(batch)

    def end_task(self, task: Task) -> None:
        if self.fill == "task":
            self.memory.learn(task, self.network)
