"""Gradient-based sample selection: rehearsal with a memory whose gradients differ most."""

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_runner.config.setting_types import BufferSize, PositiveInt
from cl_runner.data.batches import Batch
from cl_runner.models.network import Network, evaluation_mode
from cl_runner.randomness import generator
from cl_runner.strategies.parts.gradients import of_groups
from cl_runner.strategies.parts.losses import ReplaySteps
from cl_runner.strategies.parts.memory import Memory
from cl_runner.strategies.parts.selection import by_gradient
from cl_runner.strategies.rehearsal import Rehearsal


class GSS(Rehearsal):
    """L(θ) as in `rehearsal.py`; a sample is the likelier to be replaced the larger its
    C = 1 + max_j cos(∇CE(x), G_j)

    Aljundi et al. 2019, arXiv:1903.08671, algorithm 2 (greedy), with the batch as a whole and
    groups of samples as in the authors' code. G_j, j = 1 … `gradients`, are the gradients on random
    groups of `gradient_batch_size` stored samples each; C is kept from when x was stored. A batch
    is only considered where its own gradient has an angle above 90° with all of them.
    """

    shares_first_task = False

    def __init__(
        self,
        network: Network,
        *,
        buffer_size: BufferSize,
        replay_batch_size: PositiveInt,
        loss: ReplaySteps,
        iterations: PositiveInt,
        gradients: PositiveInt,
        gradient_batch_size: PositiveInt,
    ) -> None:
        super().__init__(network, buffer_size=buffer_size, policy="reservoir", fill="step",
                         replay_batch_size=replay_batch_size, loss=loss, samples_per_task=None,
                         replacement=False, iterations=iterations)  # fmt: skip
        self.memory = Memory(buffer_size, network, "reservoir", {"score": ()})
        self.gradients, self.gradient_batch_size = gradients, gradient_batch_size

    def after_step(self, batch: Batch) -> None:
        if batch.turn < self.turns(batch.task) - 1:
            return
        with evaluation_mode(self.network):
            whole, each = self._scores(batch)
        held = self.memory.columns["score"][: self.memory.stored].double().tolist()
        draw = generator(*batch.position, "memory")
        chances = torch.rand(len(each), 2, generator=draw, dtype=torch.float64).tolist()
        winners = by_gradient(held, len(self.memory.labels), each.tolist(), whole, chances)
        self.memory.place(batch, winners, score=each)

    def _scores(self, batch: Batch) -> tuple[float, Tensor]:
        """C of the batch, and [B] of each sample unless none can enter."""
        each, stored = batch.x.new_full((len(batch.y),), 1.1), self.memory.stored
        if stored == 0:
            return 1.1, each  # as in the authors' code
        n = min(self.gradient_batch_size, stored)
        drawn = self.memory.draw(batch, self.gradients * n, "gradients", replacement=False)
        groups = len(drawn.y) // n
        x, y = (t[: groups * n].unflatten(0, (groups, n)) for t in (drawn.x, drawn.y))
        G = F.normalize(of_groups(self.network, x, y, batch.task), dim=1)

        def score(x: Tensor, y: Tensor) -> Tensor:
            g = F.normalize(of_groups(self.network, x, y, batch.task), dim=1)
            return 1 + (g @ G.T).amax(1)

        whole = float(score(batch.x[None], batch.y[None]))
        if whole < 1 or stored < len(self.memory.labels):
            each = score(batch.x[:, None], batch.y[:, None])
        return whole, each
