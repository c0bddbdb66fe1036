"""Riemannian walk: weights are held by what they mean to the outputs and by what they did."""

from typing import Literal

import torch
from torch import Tensor

from cl_runner.config.setting_types import NonNegative, Positive, PositiveInt, UnitInterval
from cl_runner.data.batches import Batch
from cl_runner.data.stream import Task
from cl_runner.models.network import Network
from cl_runner.strategies.parts.losses import task_loss
from cl_runner.strategies.parts.quadratic import Quadratic, in_shapes_of
from cl_runner.strategies.strategy import Strategy


class RWalk(Strategy):
    """L(θ) = CE(θ) + weight · Σᵢ (Fᵢ + sᵢ) (θᵢ − θ*ᵢ)²,   F and s each scaled to [0, 1]

    Chaudhry et al. 2018, arXiv:1801.10112, eq. 6 to 8. θ* are the weights before the task, g is the
    gradient of CE only. After every `interval` steps, in which θ moved by Δ in steps δ,

        F ← (1 − alpha) · F + alpha · mean of g²,   s ← s + max(0, −Σ gᵢ δᵢ) / (½ F Δ² + eps)

    - `path`: whether s counts; without it this is the paper's EWC++
    - `form`: `paper`: after a task, s ← (s + the task's own) / 2. `code`, the authors', with which
      Chaudhry et al. 2019 published: s ← 1.5 · s + 0.5 · the task's own, so the first tasks weigh
      most, and the squares are summed from the beginning of the task on
    """

    running_fisher: Tensor  # [P] F
    squares: Tensor  # [P] Σ g² since the interval began, in `code` since the task began
    path_integral: Tensor  # [P] −Σ g δ since the interval began
    passed: Tensor  # [P] θ when the interval began
    steps: Tensor  # of the interval so far
    score: Tensor  # [P] s of the current task
    scores: Tensor  # [P] s of the tasks before it

    def __init__(
        self,
        network: Network,
        *,
        weight: NonNegative,
        alpha: UnitInterval,
        interval: PositiveInt,
        eps: Positive,
        path: bool,
        form: Literal["paper", "code"],
    ) -> None:
        super().__init__(network)
        self.weight, self.alpha, self.interval, self.eps = weight, alpha, interval, eps
        self.path, self.form = path, form
        self.springs = Quadratic(network.trainable)  # F + s, anchored at θ*
        for name in ("running_fisher", "squares", "path_integral", "passed", "score", "scores"):
            self.register_buffer(name, torch.zeros_like(self.springs.weight))
        self.register_buffer("steps", torch.tensor(0))
        self.before: list[Tensor] = []  # θ of the current step, as the next
        self.gradient: list[Tensor] = []  # g

    def begin_task(self, task: Task) -> None:
        self.passed.copy_(self.network.theta)

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        terms = {"task": task_loss(self.network(batch.x), batch)}
        if not batch.task.first:
            terms["rwalk"] = self.springs(self.network.trainable, self.weight)
        return terms

    def after_backward(self, batch: Batch) -> None:
        """Keep θ and g. Not g itself, into which some optimizers add their momentum."""
        theta = self.network.trainable
        self.before = [p.detach().clone() for p in theta]
        self.gradient = [torch.zeros_like(p) if p.grad is None else p.grad for p in theta]
        if batch.task.first:
            self.gradient = [g.clone() for g in self.gradient]
        else:
            pull = torch._foreach_mul(in_shapes_of(theta, self.springs.weight), 2 * self.weight)
            anchor = in_shapes_of(theta, self.springs.anchor)
            torch._foreach_mul_(pull, torch._foreach_sub(tuple(self.before), anchor))
            self.gradient = list(torch._foreach_sub(tuple(self.gradient), pull))

    @torch.no_grad()
    def after_step(self, batch: Batch) -> None:
        theta, g = self.network.trainable, self.gradient
        torch._foreach_add_(in_shapes_of(theta, self.squares), torch._foreach_mul(g, g))
        if self.path:
            moved = torch._foreach_sub(tuple(theta), self.before)
            torch._foreach_mul_(moved, g)
            torch._foreach_sub_(in_shapes_of(theta, self.path_integral), moved)
        self.before, self.gradient = [], []  # the next step takes their memory
        self.steps += 1
        if self.steps == self.interval:
            self._end_interval()

    def _end_interval(self) -> None:
        self.running_fisher.lerp_(self.squares / self.steps, self.alpha)
        divergence = 0.5 * self.running_fisher * (self.network.theta - self.passed).square()
        self.score += self.path_integral.clamp(min=0) / (divergence + self.eps)
        self.passed.copy_(self.network.theta)
        self.path_integral.zero_()
        self.steps.zero_()
        if self.form == "paper":
            self.squares.zero_()

    def end_task(self, task: Task) -> None:
        if self.steps > 0:
            self._end_interval()
        if task.first:
            self.scores.copy_(self.score)
        elif self.form == "paper":
            self.scores.lerp_(self.score, 0.5)
        else:
            self.scores += (self.scores + self.score) / 2
        importance = scaled(self.running_fisher) + (scaled(self.scores) if self.path else 0)
        self.springs.replace(importance, self.network.theta)
        self.score.zero_()
        self.squares.zero_()

    def curvature(self) -> float:
        return 2 * self.weight * self.springs.weight.max().item()


def scaled(values: Tensor) -> Tensor:
    """From the smallest, 0, to the largest, 1, over all parameters; 0 if they are equal."""
    least, most = values.aminmax()
    return (values - least) / (most - least).clamp(min=torch.finfo(values.dtype).tiny)
