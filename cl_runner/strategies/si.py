"""Synaptic intelligence: the more a weight has lowered the loss, the harder it is held."""

from typing import Literal

import torch
from torch import Tensor

from cl_runner.config.setting_types import NonNegative, Positive
from cl_runner.data.batches import Batch
from cl_runner.data.stream import Task
from cl_runner.models.network import Network
from cl_runner.strategies.parts.losses import task_loss
from cl_runner.strategies.parts.quadratic import Quadratic, in_shapes_of
from cl_runner.strategies.strategy import Strategy


class SI(Strategy):
    """L(θ) = CE(θ) + weight · Σᵢ Ωᵢ (θᵢ − θ*ᵢ)²,   Ωᵢ = Σₜ max(0, ωₜᵢ) / (Δₜᵢ² + xi)

    Zenke et al. 2017, eq. 4 and 5. θ* are the weights before the task, Δₜ is the distance that
    they moved in task t, and ωₜᵢ = −Σ gᵢ δᵢ over its steps δ. g is the gradient of CE only: the
    gradient of the penalty is subtracted first.

    Each ωₜ is clamped separately, so no task reduces the importance from other tasks. The paper has
    no clamp; the authors' code clamps the sum so far instead, after each task.

    - `gradient`: whether g is that of the `task`'s loss, as above, or `total`: the penalty's, too
    - `negative`: `clamp`, as above, or `keep`: ωₜᵢ in place of max(0, ωₜᵢ). Van de Ven et al. 2022
      published with `total` and `keep`
    """

    path: Tensor  # [P] ω of the current task
    start: Tensor  # [P] θ when it began

    def __init__(
        self,
        network: Network,
        *,
        weight: NonNegative,
        xi: Positive,
        gradient: Literal["task", "total"],
        negative: Literal["clamp", "keep"],
    ) -> None:
        super().__init__(network)
        self.weight, self.xi = weight, xi
        self.without_penalty, self.clamps = gradient == "task", negative == "clamp"
        self.springs = Quadratic(network.trainable)  # Ω, anchored at θ*
        self.register_buffer("path", torch.zeros_like(self.springs.weight))
        self.register_buffer("start", torch.zeros_like(self.springs.weight))
        self.before: list[Tensor] = []  # of the current step, as the next two
        self.gradients: list[Tensor] = []
        self.pulls: list[Tensor] = []  # half of the penalty's gradient, without its weight

    def begin_task(self, task: Task) -> None:
        self.start.copy_(self.network.theta)

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        terms = {"task": task_loss(self.network(batch.x), batch)}
        if not batch.task.first:
            terms["si"] = self.penalty()
        return terms

    def penalty(self) -> Tensor:
        """Scalar; keeps what `after_backward` subtracts from the gradient."""
        penalty, pulls = self.springs.with_pulls(self.network.trainable)
        self.pulls = pulls if self.without_penalty else []
        return self.weight * penalty

    def after_backward(self, batch: Batch) -> None:
        """Keep θ and g. Not g itself, into which some optimizers add their momentum."""
        theta = self.network.trainable
        self.before = [p.detach().clone() for p in theta]
        g = [torch.zeros_like(p) if p.grad is None else p.grad for p in theta]
        if self.pulls:
            g = list(torch._foreach_sub(g, self.pulls, alpha=2 * self.weight))
        else:
            g = [each.clone() for each in g]
        self.gradients, self.pulls = g, []

    @torch.no_grad()
    def after_step(self, batch: Batch) -> None:
        """ωᵢ ← ωᵢ − gᵢ δᵢ. In place where possible: what costs here is fresh memory."""
        theta = tuple(self.network.trainable)
        torch._foreach_sub_(self.before, theta)  # −δ
        torch._foreach_addcmul_(in_shapes_of(theta, self.path), self.gradients, self.before)
        self.before, self.gradients = [], []  # the next step takes their memory

    def end_task(self, task: Task) -> None:
        theta = self.network.theta
        path = self.path.clamp(min=0) if self.clamps else self.path
        omega = path / ((theta - self.start).square() + self.xi)
        self.springs.replace(self.springs.weight + omega, theta)
        self.path.zero_()

    def curvature(self) -> float:
        return 2 * self.weight * self.springs.weight.max().item()
