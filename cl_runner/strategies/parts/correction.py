"""An affine map of each output, fitted on held-out samples: the bias correction of BiC."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.autograd.functional import hessian

from cl_runner.data.stream import Task


class Correction(nn.Module):
    """q = α · z + β, with a pair (α, β) for the classes that each task brought; at first q = z."""

    alpha: Tensor  # [C]
    beta: Tensor  # [C]

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("alpha", torch.ones(classes))
        self.register_buffer("beta", torch.zeros(classes))

    def forward(self, z: Tensor) -> Tensor:
        """[B, C] from the network's outputs [B, C]."""
        return self.alpha * z + self.beta

    def fit(self, z: Tensor, y: Tensor, task: Task) -> tuple[float, float]:
        """Set the pair of the task's new classes to the one with the smallest loss; the others
        stay. Returns it.

        z: outputs [N, C] of held-out samples, y: their labels [N].
        """
        new, others = slice(task.old, task.seen), self(z)

        def loss(pair: Tensor) -> Tensor:
            fitted = pair[0] * z[:, new] + pair[1]
            q = torch.cat([others[:, : new.start], fitted, others[:, new.stop :]], dim=1)
            return task.likelihood.loss(q, y, task.competing)

        alpha, beta = _minimum(loss, z.new_tensor([1.0, 0.0])).tolist()
        self.alpha[new], self.beta[new] = alpha, beta
        return alpha, beta


def _minimum(loss: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Where a convex function is smallest, to within a gradient of 1e-5, by Newton's method from x
    on; a step that does not descend is halved. If the function falls for ever, as when all held-out
    samples are told apart, that is some way out."""
    for _ in range(100):
        x = x.detach().requires_grad_()
        value = loss(x)
        (gradient,) = torch.autograd.grad(value, x)
        if gradient.abs().max() < 1e-5:
            break
        curvature = hessian(loss, x.detach())
        step = torch.linalg.solve(curvature + 1e-6 * torch.eye(len(x)).to(x), gradient)
        while loss(x.detach() - step) > value and step.abs().max() > 1e-6:
            step = step / 2
        x = x - step
    return x.detach()
