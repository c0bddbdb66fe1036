"""Joint training: the upper bound. It keeps all data."""

from functools import reduce
from operator import add
from typing import Literal

from torch import Tensor

from cl_runner.data.batches import Batch
from cl_runner.data.samples import Samples
from cl_runner.data.stream import Stream, Task
from cl_runner.models.network import Network
from cl_runner.strategies.parts.losses import task_loss
from cl_runner.strategies.parts.teacher import from_scratch
from cl_runner.strategies.strategy import Strategy


class Joint(Strategy):
    """L(θ) = CE(θ) on the samples of all tasks seen so far, `epochs` times over all of them.

    `start`: whether each task continues from the `current` weights or starts from `scratch`, with
    the weights and classifier rows that the run began with. The two bounds differ.
    """

    shares_first_task = True

    def __init__(self, network: Network, *, start: Literal["current", "scratch"]) -> None:
        super().__init__(network)
        self.start = start
        self.initial = from_scratch(network, "start", start) if start == "scratch" else None

    def training_data(self, stream: Stream, task: Task) -> Samples:
        return reduce(add, [seen.train for seen in stream.tasks[: task.index + 1]])

    def begin_task(self, task: Task) -> None:
        if self.initial is not None:
            self.initial.restart(self.network, task)

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        return {"task": task_loss(self.network(batch.x), batch)}
