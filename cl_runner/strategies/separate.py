"""Separate networks: every task has one of its own, so nothing is forgotten or passed on."""

import torch
from torch import Tensor, nn

from cl_runner.data.batches import Batch
from cl_runner.data.stream import Task
from cl_runner.errors import ConfigError
from cl_runner.models.network import Network
from cl_runner.strategies.parts.losses import task_loss
from cl_runner.strategies.parts.teacher import Teacher, from_scratch
from cl_runner.strategies.strategy import Strategy


class SeparateNetworks(Strategy):
    """L(θₜ) = CE(θₜ), with weights θₜ for task t alone; a class is scored by its task's network

    A reference of van de Ven et al. 2022, table 2: what a method gains or loses by sharing weights
    between tasks. Every network begins with the same initial weights. Without task labels at test
    time (class-incremental) the outputs of all networks compete, though no loss compares them.
    """

    shares_first_task = True

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self.sizes = network.classifier.sizes
        if len(self.sizes) == 1:
            allowed = "gives each task outputs of its own, and here all tasks share theirs"
            remedy = "ce_scope=new, and dataset.scenario=task_incremental"
            raise ConfigError.of("_target_", "SeparateNetworks", allowed, remedy)
        self.initial = from_scratch(network, "_target_", "SeparateNetworks")
        self.finished = nn.ModuleList(Teacher(network) for _ in self.sizes[1:])

    def begin_task(self, task: Task) -> None:
        self.initial.restart(self.network, task)

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        return {"task": task_loss(self.network(batch.x), batch)}

    def end_task(self, task: Task) -> None:
        for finished in self.finished[task.index : task.index + 1]:  # none after the last task
            assert isinstance(finished, Teacher)
            finished.learn_from(self.network)

    def predict(self, x: Tensor) -> Tensor:
        """[B, C]: the outputs for each task's classes by its own network."""
        now = max(self.network.classifier.born - 1, 0)
        networks: list[nn.Module] = [*self.finished[:now], self.network]
        outputs = [network(x).split(self.sizes, dim=1) for network in networks]
        own = [of_tasks[t] for t, of_tasks in enumerate(outputs)]
        return torch.cat([*own, *outputs[now][now + 1 :]], dim=1)
