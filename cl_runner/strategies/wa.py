"""Weight aligning: new classes get rows of the classifier that are no longer than old ones'."""

import torch
from torch import Tensor

from cl_runner.config.setting_types import BufferSize, Positive
from cl_runner.data.batches import Batch
from cl_runner.data.samples import Samples
from cl_runner.data.stream import Stream, Task
from cl_runner.errors import ConfigError
from cl_runner.models.network import Network
from cl_runner.strategies.parts.losses import distillation, task_loss
from cl_runner.strategies.parts.memory import Memory
from cl_runner.strategies.parts.teacher import Teacher
from cl_runner.strategies.strategy import Strategy


class WA(Strategy):
    """L(θ) = (1 − λ) · CE(θ) + λ · KL(p_θ* ‖ p_θ),   λ = n / (n + m);   then W_new ← γ · W_new

    Zhao et al. 2020, arXiv:1911.07053, eq. 2 to 8. n classes are old, m are the task's; p are the
    probabilities of the old classes at temperature T, θ* are the weights before the task. Training
    data are the task's and the exemplars. After the task, γ = mean ‖w_old‖ / mean ‖w_new‖ over the
    classifier's rows w makes new classes as likely as old ones; biases stay. Where a task brings no
    new classes, γ = 1.
    """

    shares_first_task = True

    def __init__(self, network: Network, *, buffer_size: BufferSize, T: Positive) -> None:
        super().__init__(network)
        if (kind := network.classifier.kind) != "linear":
            allowed = f"changes the length of rows, and classifier={kind} ignores it"
            raise ConfigError.of("_target_", "WA", allowed, "model.classifier=linear")
        self.T = T
        self.memory = Memory(buffer_size, network, "herding")
        self.teacher = Teacher(network)

    def training_data(self, stream: Stream, task: Task) -> Samples:
        return task.train + self.memory.among(task.train)

    def training_size(self, stream: Stream, task: Task) -> int:
        seen = sum(len(earlier.train) for earlier in stream.tasks[: task.index])
        return len(task.train) + min(len(self.memory.labels), seen)

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        logits, task = self.network(batch.x), batch.task
        if task.first:
            return {"task": task_loss(logits, batch)}
        share = task.old / (task.old + len(task.classes))
        kd = distillation(logits, self.teacher(batch.x), task, self.T, t_squared=False)
        return {"task": (1 - share) * task_loss(logits, batch), "distillation": share * kd}

    def end_task(self, task: Task) -> None:
        if not task.first:
            self.log("gamma", align(self.network, task))
        self.memory.learn(task, self.network)
        self.teacher.learn_from(self.network)


@torch.no_grad()
def align(network: Network, task: Task) -> float:
    """Scale the classifier's rows of the task's new classes. Returns the factor."""
    if task.seen == task.old:
        return 1.0
    classifier, new = network.classifier, slice(task.old, task.seen)
    norms = classifier.weight.norm(dim=1)
    gamma = norms[: task.old].mean() / norms[new].mean().clamp(min=1e-12)
    factors = torch.ones_like(norms)
    factors[new] = gamma
    parts = factors.split([len(rows) for rows in classifier.weights])
    for rows, factor in zip(classifier.weights, parts, strict=True):
        rows *= factor[:, None]
    return float(gamma)
