"""RanPAC: ridge regression of the classes on random features of the network's features."""

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_runner.config.setting_types import Positive, PositiveInt
from cl_runner.data.samples import Samples
from cl_runner.data.stream import Task
from cl_runner.models.network import Network
from cl_runner.strategies.closed_form import ClosedForm, damped_solution

RIDGES = [10.0**power for power in range(-8, 9)]
"""The values of λ that are tried."""


class RanPAC(ClosedForm):
    """s(x) = Cᵀ (G + λI)⁻¹ h(x),   h(x) = ReLU(Pᵀ φ(x)),   G = Σᵢ hᵢ hᵢᵀ,   C = Σᵢ hᵢ yᵢᵀ

    McDonnell et al. 2023, arXiv:2307.02251, algorithm 1 without its adaptation of the body in the
    first task. φ are the network's features; P, [features, `projection`], is drawn from N(0, 1)
    when the run begins; y is one-hot. `ridge` is λ. If it is null, each task chooses it anew from
    10⁻⁸, 10⁻⁷, …, 10⁸: fitted to a random 80 % of the task's samples alone, it has the least
    squared error on the others, as in the authors' code.

    Nothing is trained: each sample is seen once, when its task ends, and epochs, steps and the
    optimizer play no part. That needs good features from the start: it is meant for a frozen body
    that was trained before (`model=torchvision model.frozen=true`). Otherwise the body is the run's
    own, untrained.
    """

    damping = "ridge"
    P: Tensor  # [features, M] float64
    G: Tensor  # [M, M] float64
    C: Tensor  # [M, C] float64
    ridge: Tensor  # float64, λ

    def __init__(
        self, network: Network, *, projection: PositiveInt, ridge: Positive | None
    ) -> None:
        super().__init__(network, "RanPAC", projection)
        features, classes = network.classifier.features, network.classes
        self.fixed = ridge
        for name, shape in (
            ("P", (features, projection)),
            ("G", (projection, projection)),
            ("C", (projection, classes)),
            ("ridge", ()),
        ):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))

    def begin_task(self, task: Task) -> None:
        if task.first:
            draw = task.generator("random projection")
            self.P.copy_(torch.randn(self.P.shape, generator=draw, dtype=torch.float64))

    def expanded(self, features: Tensor) -> Tensor:
        return F.relu(features @ self.P)

    def learn(self, task: Task) -> None:
        samples = task.random_training_samples(None, "held-out samples for the ridge")
        most = len(samples) * 4 // 5
        fitted, held_out = self._sums(samples[:most]), self._sums(samples[most:])
        self.ridge.fill_(best_ridge(fitted, held_out) if self.fixed is None else self.fixed)
        self.log("ridge", self.ridge)
        self.G += fitted[0] + held_out[0]
        self.C += fitted[1] + held_out[1]

    def _sums(self, samples: Samples) -> tuple[Tensor, Tensor]:
        """G and C of these samples."""
        G, C = torch.zeros_like(self.G), torch.zeros_like(self.C)
        for h, y in self.chunks(samples):
            G += h.T @ h
            C += h.T @ F.one_hot(y, C.shape[1]).to(h.dtype)
        return G, C

    def solution(self) -> tuple[Tensor, Tensor]:
        W = damped_solution(self.G, float(self.ridge), self.C)
        return W.T, torch.zeros_like(self.bias)


def best_ridge(fitted: tuple[Tensor, Tensor], held_out: tuple[Tensor, Tensor]) -> float:
    """The λ of RIDGES whose W, from G and C of some samples, has the least ‖HW − Y‖² on others."""
    (G, C), (G_held_out, C_held_out) = fitted, held_out
    squared_errors = []
    for ridge in RIDGES:
        W = damped_solution(G, ridge, C)  # the error as far as it depends on W:
        squared_errors.append((W * (G_held_out @ W - 2 * C_held_out)).sum())
    return RIDGES[int(torch.stack(squared_errors).nan_to_num(torch.inf).argmin())]
