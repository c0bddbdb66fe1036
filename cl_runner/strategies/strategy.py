"""The interface of a strategy: a module around the network, with an objective in named terms."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from cl_runner.config.targets import target
from cl_runner.data.batches import Batch
from cl_runner.data.samples import Samples
from cl_runner.data.stream import Stream, Task
from cl_runner.models.network import Network


@target
class Strategy(nn.Module, ABC):
    """Everything a strategy remembers between tasks is in its `state_dict`.

    The loop minimises the sum of the terms of `objective` and logs each under its name. The hooks
    below do nothing by default. A strategy touches neither the loop nor the optimizer.
    """

    shares_first_task: ClassVar[bool | Mapping[str, Any]] = False
    """Whether it trains on the first task as fine-tuning does, and remembers nothing else of it
    before `end_task`; or the settings with which it does. Then runs can share that training
    (`training/first_task.py`)."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.logged: dict[str, Tensor | float] = {}

    @abstractmethod
    def objective(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of the loss on this batch by name, each a scalar."""

    def training_data(self, stream: Stream, task: Task) -> Samples:
        """The samples to train on in this task."""
        return task.train

    def training_size(self, stream: Stream, task: Task) -> int:
        """The number of samples in an epoch of this task, known before the run begins."""
        return len(self.training_data(stream, task))

    def turns(self, task: Task) -> int:
        """How many optimizer steps in a row each batch of this task is for: `batch.turn` counts
        them. 0: the task has no steps, whatever the budget, and no `objective` is asked for."""
        return 1

    def begin_task(self, task: Task) -> None:
        """Called before the first step of a task; the classifier already has its new rows."""

    def after_backward(self, batch: Batch) -> None:
        """Called once before each optimizer's step, when its gradient is complete.

        batch: all samples of the step. With `accumulate=n` they are those of the n batches that
        `objective` was called with, and the gradient is that of the mean over them; clipping comes
        later. Copy a `p.grad` that you keep: some optimizers write into it.
        """

    def after_step(self, batch: Batch) -> None:
        """Called once after each optimizer's step; batch: all its samples, as in `after_backward`.

        A run is only saved between steps, so what a step remembers until then is no state.
        """

    def end_task(self, task: Task) -> None:
        """Called after the last step of a task, before the evaluation."""

    def curvature(self) -> float:
        """The largest ∂²/∂θᵢ² that its own terms add to the loss; 0 if it is not known."""
        return 0.0

    def log(self, name: str, value: Tensor | float) -> None:
        """Record a number beside the terms of the loss; any hook may call it.

        `metrics.jsonl` and W&B show its mean since their last line. The alarm ignores it. A
        strategy that shares its first task does not log there.
        """
        self.logged[name] = value

    def predict(self, x: Tensor) -> Tensor:
        """Scores [B, C]; the class with the largest score is the prediction."""
        return self.network.scores(x)
