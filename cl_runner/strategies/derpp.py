"""Dark experience replay++: stored samples are held to their logits, others to their labels."""

from torch import Tensor

from cl_runner.config.setting_types import BufferSize, NonNegative, PositiveInt
from cl_runner.data.batches import Batch
from cl_runner.models.network import Network
from cl_runner.strategies.der import DER
from cl_runner.strategies.parts.losses import task_loss
from cl_runner.strategies.parts.memory import StepPolicy


class DERpp(DER):
    """L(θ) = CE(θ) + α · ‖z − f_θ(x)‖² / C + β · CE(θ) on (x′, y′)

    Buzzega et al. 2020, arXiv:2004.07211, eq. 6. The first two terms are those of `der.py`;
    (x′, y′) are a second draw from the memory, independent of the first. β = 0 is DER.
    """

    def __init__(
        self,
        network: Network,
        *,
        buffer_size: BufferSize,
        policy: StepPolicy,
        replay_batch_size: PositiveInt,
        replacement: bool,
        alpha: NonNegative,
        beta: NonNegative,
    ) -> None:
        super().__init__(network, buffer_size=buffer_size, policy=policy, alpha=alpha,
                         replay_batch_size=replay_batch_size, replacement=replacement)  # fmt: skip
        self.beta = beta

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        terms = super().objective(batch)
        if self.memory.stored > 0:
            drawn = self.memory.draw(batch, self.replay_batch_size, "labels", self.replacement)
            terms["labels"] = self.beta * task_loss(self.network(drawn.x), drawn)
        return terms
