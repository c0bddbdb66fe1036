"""Elastic weight consolidation: springs hold the weights that mattered."""

from typing import Literal

from torch import Tensor

from cl_runner.config.setting_types import NonNegative, PositiveInt, UnitInterval
from cl_runner.data.batches import Batch
from cl_runner.data.likelihood import Categorical
from cl_runner.data.stream import Task
from cl_runner.errors import ConfigError
from cl_runner.models.network import Network
from cl_runner.strategies.parts.fisher import Estimator, fisher_diagonal
from cl_runner.strategies.parts.losses import task_loss
from cl_runner.strategies.parts.quadratic import Quadratic
from cl_runner.strategies.strategy import Strategy


class EWC(Strategy):
    """L(θ) = CE(θ) + weight/2 · Σₜ Σᵢ Fₜᵢ (θᵢ − θ*ₜᵢ)²   (Kirkpatrick et al. 2017, eq. 3)

    θ*ₜ are the weights after task t, Fₜ the diagonal of the Fisher information there.

    - `mode`: `offline`, the sum over all earlier tasks t; `online`, one spring per weight, anchored
      at the last θ*, with F ← decay · F + Fₜ (Schwarz et al. 2018, section 4)
    - `half`: whether to include the factor 1/2
    - `fisher`: the estimator of F (`parts/fisher.py`), which uses `fisher_samples` of the training
      samples (null: all of them). In regression the `predicted` target has a gradient of zero
    """

    shares_first_task = True

    def __init__(
        self,
        network: Network,
        *,
        weight: NonNegative,
        mode: Literal["offline", "online"],
        decay: UnitInterval,
        half: bool,
        fisher: Estimator,
        fisher_samples: PositiveInt | None,
        fisher_batch_size: PositiveInt,
    ) -> None:
        super().__init__(network)
        if fisher == "predicted" and not isinstance(network.likelihood, Categorical):
            allowed = "is zero in regression: at its own prediction the error has no gradient"
            raise ConfigError.of("fisher", fisher, allowed, "fisher=exact")
        self.factor = weight / 2 if half else weight
        self.mode, self.decay = mode, decay
        self.estimator = fisher
        self.samples, self.batch_size = fisher_samples, fisher_batch_size
        self.fisher = Quadratic(network.trainable)

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        terms = {"task": task_loss(self.network(batch.x), batch)}
        if not batch.task.first:
            terms["ewc"] = self.fisher(self.network.trainable, self.factor)
        return terms

    def end_task(self, task: Task) -> None:
        samples = task.random_training_samples(self.samples, "fisher samples")
        fisher = fisher_diagonal(self.network, samples, task, self.estimator, self.batch_size)
        theta = self.network.theta
        if self.mode == "offline":
            self.fisher.add(fisher, theta)
        else:
            self.fisher.replace(self.decay * self.fisher.weight + fisher, theta)

    def curvature(self) -> float:
        return 2 * self.factor * self.fisher.weight.max().item()
