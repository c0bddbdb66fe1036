"""Dark experience replay without labels: stored samples are held to their logits alone."""

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_runner.config.setting_types import BufferSize, NonNegative, PositiveInt
from cl_runner.data.batches import Batch
from cl_runner.models.network import Network
from cl_runner.strategies.parts.losses import task_loss
from cl_runner.strategies.parts.memory import Memory, StepPolicy
from cl_runner.strategies.strategy import Strategy


class DER(Strategy):
    """L(θ) = CE(θ) + α · ‖z − f_θ(x)‖² / C

    Buzzega et al. 2020, arXiv:2004.07211, eq. 5. (x, z) are drawn from the memory, which takes in
    each batch after its step; z are the logits before that step. The squares are a mean over
    samples and over the outputs that were there when z was stored, as in the authors' code: α of a
    sum over outputs is C times smaller. Outputs that are born later are held by nothing: the
    published numbers have all outputs from the start (`ce_scope=all`). `replacement`: whether a
    draw may hold a sample twice.
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
    ) -> None:
        super().__init__(network)
        self.memory = Memory(buffer_size, network, policy, {"logits": (network.classes,)})
        self.replay_batch_size, self.replacement = replay_batch_size, replacement
        self.alpha = alpha
        self.before: list[Tensor] = []  # the logits of each batch of the step

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.network(batch.x)
        self.before.append(logits.detach())
        terms = {"task": task_loss(logits, batch)}
        if self.memory.stored > 0:
            dark = self.memory.draw(batch, self.replay_batch_size, "logits", self.replacement)
            z, f = dark.columns["logits"], self.network(dark.x)
            if not (known := torch.isfinite(z)).all():
                z, f = z[known], f[known]
            terms["logits"] = self.alpha * F.mse_loss(f, z)
        return terms

    def after_step(self, batch: Batch) -> None:
        self.memory.insert(batch, logits=torch.cat(self.before))
        self.before.clear()
