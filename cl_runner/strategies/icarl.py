"""iCaRL: sigmoid outputs, exemplars by herding, classification by the nearest class mean."""

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_runner.config.setting_types import BufferSize, Positive, PositiveInt
from cl_runner.data.batches import Batch
from cl_runner.data.samples import Samples
from cl_runner.data.stream import Stream, Task
from cl_runner.models.nearest_mean import distances_to
from cl_runner.models.network import Network, evaluation_mode
from cl_runner.strategies.parts.losses import refuse_real_numbers
from cl_runner.strategies.parts.memory import Memory
from cl_runner.strategies.parts.teacher import Teacher
from cl_runner.strategies.strategy import Strategy


class ICaRL(Strategy):
    """L(θ) = −Σ_c q_c log σ(z_c) + (1 − q_c) log(1 − σ(z_c)), c over the classes seen so far

    Rebuffi et al. 2017, arXiv:1611.07725, algorithms 2 to 5. q is 1 for the label and 0 for other
    classes of the task; for classes of earlier tasks only, it is σ(z*_c / T) of the network before
    the task (T = 1 in the paper). So new samples of an old class are used as exemplars are. Mean
    over the batch. Training data are the task's and the exemplars. A sample belongs to the class
    whose exemplars have the nearest mean feature, features and means of length one.
    """

    means: Tensor  # [C, D] of the exemplars' features, as the network was when the last task ended
    measured: Tensor  # whether that is how it is now

    def __init__(
        self,
        network: Network,
        *,
        buffer_size: BufferSize,
        samples_per_class: PositiveInt | None,
        T: Positive,
    ) -> None:
        super().__init__(network)
        refuse_real_numbers(network, "ICaRL")
        self.T = T
        self.memory = Memory(buffer_size, network, "herding", per_class=samples_per_class)
        self.teacher = Teacher(network)
        self.register_buffer("means", torch.zeros(network.classes, network.classifier.features))
        self.register_buffer("measured", torch.tensor(False))

    def training_data(self, stream: Stream, task: Task) -> Samples:
        return task.train + self.memory.among(task.train)

    def training_size(self, stream: Stream, task: Task) -> int:
        return len(task.train) + self.memory.stored_after(stream.tasks[: task.index])

    def begin_task(self, task: Task) -> None:
        self.measured.fill_(False)

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        old, shown = batch.task.classes.start, batch.task.shown
        z = self.network(batch.x)[:, :shown]
        q = F.one_hot(batch.y, shown).to(z.dtype)
        if old > 0:
            q[:, :old] = torch.sigmoid(self.teacher(batch.x)[:, :old] / self.T)
        ce = F.binary_cross_entropy_with_logits(z, q, reduction="none").mean(0)
        terms = {"task": ce[old:].sum(), "distillation": ce[:old].sum()}
        return terms if old > 0 else {"task": terms["task"]}

    def end_task(self, task: Task) -> None:
        self.memory.learn(task, self.network)
        self.teacher.learn_from(self.network)
        exemplars = self.memory.samples(task.train.pixels)
        with torch.no_grad(), evaluation_mode(self.network):
            phi = torch.cat([self._features(chunk.x) for chunk in exemplars.chunks(1000)])
        for c in exemplars.y.unique():
            self.means[c] = F.normalize(phi[exemplars.y == c].mean(0), dim=0)
        self.measured.fill_(True)

    def predict(self, x: Tensor) -> Tensor:
        """Minus the distance to each mean; within a task, when there are none, the outputs."""
        return -distances_to(self.means, self._features(x)) if self.measured else self.network(x)

    def _features(self, x: Tensor) -> Tensor:
        return F.normalize(self.network.features(x), dim=1)
