"""What every strategy is: a module around the network whose objective is named terms."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from cl_runner.config.targets import target
from cl_runner.data.batches import Batch
from cl_runner.data.samples import Samples
from cl_runner.data.stream import Stream, Task
from cl_runner.models.network import Network


@target
class Strategy(nn.Module, ABC):
    """All that a strategy remembers between tasks is in its `state_dict`.

    The loop minimises the sum of `objective`'s terms and logs each under its name. The hooks
    below do nothing unless a strategy overrides them; it touches neither loop nor optimizer.
    """

    shares_first_task: ClassVar[bool] = False
    """Whether it trains on the first task as fine-tuning does, and until `end_task` has nothing
    else to remember of it: then its runs can share it (`training/first_task.py`)."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.logged: dict[str, Tensor | float] = {}

    @abstractmethod
    def objective(self, batch: Batch) -> dict[str, Tensor]:
        """The named terms of the loss on this batch, each a scalar."""

    def training_data(self, stream: Stream, task: Task) -> Samples:
        """What to train on at this task."""
        return task.train

    def training_size(self, stream: Stream, task: Task) -> int:
        """Samples of an epoch of this task, as known before the run begins."""
        return len(self.training_data(stream, task))

    def begin_task(self, task: Task) -> None:
        """Before the first step of a task, when the classifier has its new rows."""

    def after_backward(self, batch: Batch) -> None:
        """When the gradients of this batch are there, before the optimizer's step."""

    def after_step(self, batch: Batch) -> None:
        """After the optimizer's step on this batch."""

    def end_task(self, task: Task) -> None:
        """After the last step of a task, before it is evaluated."""

    def curvature(self) -> float:
        """The largest ∂²/∂θᵢ² that its own terms add to the loss, where it is known."""
        return 0.0

    def log(self, name: str, value: Tensor | float) -> None:
        """Record a number beside the terms of the loss, from within any hook.

        `metrics.jsonl` and W&B get its mean since their last line. The alarm does not look at it.
        Not in the first task of a strategy that shares it.
        """
        self.logged[name] = value

    def predict(self, x: Tensor) -> Tensor:
        """Scores [B, C]; the largest among the classes asked for is the prediction."""
        logits: Tensor = self.network(x)
        return logits
