"""SLDA: streaming linear discriminant analysis, class means and one covariance of all classes."""

import torch
from torch import Tensor

from cl_runner.config.setting_types import Share
from cl_runner.data.stream import Task
from cl_runner.models.network import Network
from cl_runner.strategies.closed_form import ClosedForm, damped_solution
from cl_runner.strategies.parts.class_means import ClassMeans


class SLDA(ClosedForm):
    """s_c(x) = μ_cᵀ Λ φ(x) − ½ μ_cᵀ Λ μ_c,   Λ = [(1 − ε) Σ + ε I]⁻¹
    Σ = 1/N Σᵢ (φᵢ − μ_yᵢ)(φᵢ − μ_yᵢ)ᵀ

    Hayes & Kanan 2020, arXiv:1909.01520, with a covariance that is always updated; ε is
    `shrinkage`. φ are the network's features, μ the means of the classes, which count as equally
    likely. Σ is about the means of all samples so far and starts from nothing; theirs is about the
    means at the time, so the order matters a little, and may start from a first batch.

    Nothing is trained: each sample is seen once, when its task ends, and epochs, steps and the
    optimizer play no part. That needs good features from the start: it is meant for a frozen body
    that was trained before (`model=torchvision model.frozen=true`). Otherwise the body is the run's
    own, untrained.
    """

    damping = "shrinkage"
    scatter: Tensor  # [D, D] float64, N Σ

    def __init__(self, network: Network, *, shrinkage: Share) -> None:
        features = network.classifier.features
        super().__init__(network, "SLDA", features)
        self.shrinkage = shrinkage
        self.statistics = ClassMeans(network.classes, features)
        self.register_buffer("scatter", torch.zeros(features, features, dtype=torch.float64))

    def learn(self, task: Task) -> None:
        for phi, y in self.chunks(task.train):
            residuals = self.statistics.add(phi, y)
            self.scatter += residuals.T @ residuals

    def solution(self) -> tuple[Tensor, Tensor]:
        mu, eps = self.statistics.means, self.shrinkage
        shrunk = (1 - eps) * self.scatter / self.statistics.counts.sum()
        weight = damped_solution(shrunk, eps, mu.T).T
        return weight, -(weight * mu).sum(1) / 2
