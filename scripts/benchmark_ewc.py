"""What EWC and SI add to a training step, and whether that grows with the number of tasks."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable

import torch
from interleaving import Ratio, interleaved
from synthetic_runs import MLP, again, synthetic, training
from torch import Tensor, nn
from torch.nn import functional as F

from cl_runner.data.stream import Stream, Task
from cl_runner.training.alarm import Watch
from cl_runner.training.loop import Training

EMPIRICAL = ("strategy.fisher=empirical", "strategy.fisher_samples=100")
SETTINGS = {"finetune": (), "ewc": EMPIRICAL, "si": ()}


def penalty_step(strategy: str, pair: tuple[str, str]) -> Ratio:
    """A step of the strategy in the second task, timed for two of its sides: `ours`, `by hand`,
    and fine-tuning's, `finetune` and `finetune by hand`.

    By hand the penalty is as cheap as we can write it with torch: no autograd, no tensor that is
    not needed, one call for all parameters."""
    stream = synthetic(2, 5_000)
    task = stream.tasks[1]
    with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
        run, plain = _at_task(stream, a, strategy, 1), _at_task(stream, b, "finetune", 1)
        sides = {
            "ours": _epoch(run, task),
            "by hand": ByHand(strategy, run, task).epoch,
            "finetune": _epoch(plain, task),
            "finetune by hand": ByHand("finetune", plain, task).epoch,
        }
        return interleaved(sides[pair[0]], sides[pair[1]])


class ByHand:
    """The steps of a task with a quadratic penalty, and for `si` with the path integral."""

    def __init__(self, strategy: str, run: Training, task: Task) -> None:
        self.strategy, self.task = strategy, task
        self.network = copy.deepcopy(run.strategy.network)
        self.network._forward_pre_hooks.clear()  # those that count the samples of the run
        self.parameters: list[Tensor] = list(self.network.parameters())
        self.anchor = [p.detach().clone() for p in self.parameters]
        self.weight = [torch.rand_like(p) for p in self.parameters]
        self.path = [torch.zeros_like(p) for p in self.parameters]
        self.optimizer = run.settings.optimizer(nn.ParameterList(self.parameters), 1)

    def epoch(self) -> None:
        images, labels = self.task.train.raw, self.task.train.y
        for rows in torch.randperm(len(labels)).split(100):
            x = images[rows].float().div_(127.5).sub_(1)
            loss = F.cross_entropy(self.network(x), labels[rows])
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if self.strategy == "finetune":
                self.optimizer.step()
            else:
                self._held()

    @torch.no_grad()
    def _held(self) -> None:
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        distances = torch._foreach_sub(self.parameters, self.anchor)
        pulls = torch._foreach_mul(distances, self.weight)
        pairs = zip(pulls, distances, strict=True)
        torch.stack([p.view(-1).dot(d.view(-1)) for p, d in pairs]).sum()  # the term, to be logged
        if self.strategy == "ewc":
            torch._foreach_add_(gradients, pulls, alpha=0.02)
            self.optimizer.step()
            return
        total = torch._foreach_add(gradients, pulls, alpha=0.02)
        for parameter, gradient in zip(self.parameters, total, strict=True):
            parameter.grad = gradient
        before = [p.clone() for p in self.parameters]
        self.optimizer.step()
        torch._foreach_sub_(before, self.parameters)
        torch._foreach_addcmul_(self.path, gradients, before)


def ewc_flat() -> Ratio:
    """EWC's steps in the 20th task / in the second."""
    stream = synthetic(20, 5_000)
    with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
        late, early = _at_task(stream, a, "ewc", 19), _at_task(stream, b, "ewc", 1)
        return interleaved(_epoch(late, stream.tasks[19]), _epoch(early, stream.tasks[1]))


def _at_task(stream: Stream, folder: str, strategy: str, done: int) -> Training:
    """A run that is about to learn a task. done: the number of tasks learned before."""
    run = training(stream, folder, f"strategy={strategy}", *MLP, *SETTINGS[strategy])
    run.strategy.network.grow(stream.tasks[0])
    for task in stream.tasks[:done]:
        run.strategy.end_task(task)
    return run


def _epoch(run: Training, task: Task) -> Callable[[], None]:
    """The steps of the task through the runner's loop."""
    run.watch = Watch(task, run.parameters)  # one for the whole task, as in a run
    return lambda: again(run, task)
