"""GDumb: training from scratch on nothing but a greedily balanced memory."""

from torch import Tensor

from cl_runner.config.setting_types import BufferSize
from cl_runner.data.batches import Batch
from cl_runner.data.samples import Samples
from cl_runner.data.stream import Stream, Task
from cl_runner.models.network import Network
from cl_runner.strategies.parts.losses import task_loss
from cl_runner.strategies.parts.memory import Memory
from cl_runner.strategies.parts.teacher import from_scratch
from cl_runner.strategies.strategy import Strategy


class GDumb(Strategy):
    """L(θ) = CE(θ) on the stored samples, starting each task from the initial weights.

    Prabhu et al. 2020. A baseline: a method that does more against forgetting has to beat it.
    """

    def __init__(self, network: Network, *, buffer_size: BufferSize) -> None:
        super().__init__(network)
        self.memory = Memory(buffer_size, network, "class_balanced")
        self.initial = from_scratch(network, "_target_", "GDumb")

    def training_size(self, stream: Stream, task: Task) -> int:
        seen = sum(len(earlier.train) for earlier in stream.tasks[: task.index + 1])
        return min(len(self.memory.labels), seen)

    def begin_task(self, task: Task) -> None:
        self.memory.learn(task, self.network)
        self.initial.restart(self.network, task)

    def training_data(self, stream: Stream, task: Task) -> Samples:
        return self.memory.samples(task.train.pixels)

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        return {"task": task_loss(self.network(batch.x), batch)}
