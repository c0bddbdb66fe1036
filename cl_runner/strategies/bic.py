"""Bias correction: two numbers per task undo the preference for its classes."""

from collections import Counter
from dataclasses import replace

import torch
from torch import Tensor

from cl_runner.config.setting_types import BufferSize, Positive
from cl_runner.data.batches import Batch
from cl_runner.data.samples import Samples
from cl_runner.data.stream import Stream, Task
from cl_runner.errors import ConfigError
from cl_runner.models.network import Network, evaluation_mode
from cl_runner.strategies.parts.arrivals import group_sizes
from cl_runner.strategies.parts.correction import Correction
from cl_runner.strategies.parts.losses import distillation, task_loss
from cl_runner.strategies.parts.memory import Memory
from cl_runner.strategies.parts.selection import balanced_quotas, merged
from cl_runner.strategies.parts.teacher import Teacher
from cl_runner.strategies.strategy import Strategy


class BiC(Strategy):
    """L(θ) = (1 − λ) · CE(θ) + λ · KL(p_θ* ‖ p_θ),   λ = n / (n + m);   then q = α · z + β

    Wu et al. 2019, arXiv:1905.13260, eq. 1 to 5. n classes are old, m are the task's; p are the
    probabilities of the old classes at temperature T, θ* are the weights before the task. Training
    data are the task's and the exemplars. After the task, α and β of its new classes' outputs z
    minimise CE on held-out samples, equally many of each class; the network stays as it is. Each
    task keeps its pair, also in training and in the teacher. Where a task brings no new classes,
    there is none.

    A tenth of the memory is for the held-out samples, which are never trained on: at most a tenth
    of each class.
    """

    def __init__(self, network: Network, *, buffer_size: BufferSize, T: Positive) -> None:
        super().__init__(network)
        held_out, classes = buffer_size // 10, network.classes
        if held_out < classes:
            allowed = f"has a tenth, {held_out}, for held-out samples of each of {classes} classes"
            raise ConfigError.of("buffer_size", buffer_size, allowed, f"buffer_size={10 * classes}")
        self.T = T
        self.held_out = Memory(held_out, network, "class_balanced")
        self.memory = Memory(buffer_size - held_out, network, "herding")
        self.teacher = Teacher(network)
        self.correction = Correction(classes)

    def begin_task(self, task: Task) -> None:
        order = torch.randperm(len(task.train), generator=task.generator("held-out samples"))
        shuffled = task.train[order.to(task.train.index.device)]
        kinds = task.likelihood.kinds(shuffled.y)
        rows = [torch.nonzero(kinds == kind).flatten() for kind in kinds.unique()]
        some = shuffled[torch.cat([mine[: tenth(len(mine))] for mine in rows])]
        self.held_out.learn(replace(task, train=some), self.network)

    def training_data(self, stream: Stream, task: Task) -> Samples:
        return self._kept(task) + self.memory.among(task.train)

    def _kept(self, task: Task) -> Samples:
        """The training samples of the task that are not held out."""
        held_out = self.held_out.index[: self.held_out.stored]
        return task.train[~torch.isin(task.train.index, held_out)]

    def training_size(self, stream: Stream, task: Task) -> int:
        held_out: dict[int, int] = {}
        before: Counter[int] = Counter()
        kept = []
        for each in stream.tasks[: task.index + 1]:
            some = {group: tenth(size) for group, size in group_sizes(each).items()}
            counts = Counter(held_out) + Counter(some)
            quotas = balanced_quotas(counts, len(self.held_out.labels))
            taken = 0
            for group, new in some.items():
                stored = torch.arange(held_out.get(group, 0))
                order = merged(stored, torch.full((new,), -1), before[group])
                taken += int((order[: quotas[group]] < 0).sum())
            before.update(some)
            held_out = quotas
            kept.append(len(each.train) - taken)
        if kept[-1] == 0:
            allowed = f"holds out a sample of each class, and task {task.index + 1} has no others"
            raise ConfigError.of("strategy._target_", "BiC", allowed, "more samples of each class")
        return kept[-1] + min(len(self.memory.labels), sum(kept[:-1]))

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        q, task = self.predict(batch.x), batch.task
        if task.first:
            return {"task": task_loss(q, batch)}
        share = task.old / (task.old + len(task.classes))
        kd = distillation(q, self.correction(self.teacher(batch.x)), task, self.T, t_squared=False)
        return {"task": (1 - share) * task_loss(q, batch), "distillation": share * kd}

    def predict(self, x: Tensor) -> Tensor:
        q: Tensor = self.correction(self.network(x))
        return q

    def end_task(self, task: Task) -> None:
        if not task.first and task.seen > task.old:
            samples = self.held_out.samples(task.train.pixels)
            with torch.no_grad(), evaluation_mode(self.network):
                z = torch.cat([self.network(chunk.x) for chunk in samples.chunks(1000)])
            alpha, beta = self.correction.fit(z, samples.y, task)
            self.log("alpha", alpha)
            self.log("beta", beta)
        self.memory.learn(replace(task, train=self._kept(task)), self.network)
        self.teacher.learn_from(self.network)


def tenth(count: int) -> int:
    """Of the samples of one class; at least one."""
    return max(1, count // 10)
