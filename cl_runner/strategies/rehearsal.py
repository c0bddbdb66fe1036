"""Rehearsal: training on stored samples of earlier tasks along with the current ones."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from cl_runner.config.setting_types import BufferSize, PositiveInt
from cl_runner.data.batches import Batch
from cl_runner.data.samples import Samples
from cl_runner.data.stream import Stream, Task
from cl_runner.errors import ConfigError
from cl_runner.models.network import Network
from cl_runner.strategies.parts.appended import size_with_stored, with_stored
from cl_runner.strategies.parts.losses import ReplayWay, rehearsal, task_loss
from cl_runner.strategies.parts.memory import Fill, Memory, Policy
from cl_runner.strategies.strategy import Strategy


class Rehearsal(Strategy):
    """L(θ) = CE(θ) over the batch and samples drawn from the memory.

    Experience replay (Robins 1995; Chaudhry et al. 2019, arXiv:1902.10486).

    - `loss`: `concat`, the mean over both together; `sum` of the two means; `by_task`, 1/k of the
      first and 1 − 1/k of the second at the k-th task (van de Ven et al. 2022); `in_turn`, a step
      on each (Aljundi et al. 2019); `appended`: all stored samples join the task's data, as often
      as makes them about as many (Hsu et al. 2018). Else the network sees both as one batch
    - `fill`: the memory takes in samples after each `task` or, as in online learning, each `step`
    - `samples_per_task`: how many random samples of a task may be stored (null: any number); only
      where the memory is filled after each task
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
        loss: ReplayWay,
        fill: Fill,
        samples_per_task: PositiveInt | None,
        replacement: bool,
        iterations: PositiveInt,
    ) -> None:
        super().__init__(network)
        if fill == "step" and policy == "herding":
            allowed = "chooses among the samples of a whole task, so fill=step cannot use it"
            raise ConfigError.of("policy", policy, allowed, "fill=task or policy=reservoir")
        if fill == "step" and loss == "appended":
            allowed = "needs what is stored when a task begins, so fill=step cannot use it"
            raise ConfigError.of("loss", loss, allowed, "fill=task or loss=concat")
        self.memory = Memory(buffer_size, network, policy)
        self.replay_batch_size, self.loss, self.fill = replay_batch_size, loss, fill
        self.samples_per_task = samples_per_task
        self.replacement, self.iterations = replacement, iterations

    def training_data(self, stream: Stream, task: Task) -> Samples:
        return with_stored(self.memory, task) if self.loss == "appended" else task.train

    def training_size(self, stream: Stream, task: Task) -> int:
        if self.loss != "appended":
            return len(task.train)
        return size_with_stored(self.memory, stream, task, self.samples_per_task)

    def turns(self, task: Task) -> int:
        replays = self.fill == "step" or not task.first
        return self.iterations * (2 if self.loss == "in_turn" and replays else 1)

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        new = self.loss == "in_turn" and batch.turn % 2 == 0
        if new or self.loss == "appended" or self.memory.stored == 0:
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
            self.memory.learn(task, self.network, at_most=self.samples_per_task)
