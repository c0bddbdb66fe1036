"""Deep generative replay: a second network draws pictures of earlier tasks, nothing is stored."""

import copy
from typing import Literal

import torch
from torch import Tensor

from cl_runner.config.setting_types import Positive, PositiveInt
from cl_runner.data.batches import Batch
from cl_runner.data.stream import Task
from cl_runner.models.network import Network
from cl_runner.models.vae import VAE
from cl_runner.strategies.parts.losses import (
    refuse_features,
    refuse_real_numbers,
    task_loss,
    with_new_outputs,
)
from cl_runner.strategies.parts.teacher import Teacher
from cl_runner.strategies.strategy import Strategy


class DGR(Strategy):
    """L(θ, φ) = (1/k) · [CE(θ) + V(φ)] + (1 − 1/k) · [CE(θ) on (x̂, ŷ) + V(φ) on x̂]   at task k

    Shin et al. 2017, arXiv:1705.08690, eq. 1, with the weights of van de Ven & Tolias 2019,
    arXiv:1904.07734. V is the loss of a variational autoencoder, whose weights φ the optimizer of
    the run trains, too. x̂ are drawn in each step from the autoencoder before the task, and ŷ are
    the most likely old classes of the network before the task; in a task-incremental stream the
    mean over the labels of each old task. Drawn pictures have 256 levels, as stored ones have.

    - `labels`: `hard`, as above, or `soft`: T² · KL from the probabilities of the network before
      the task in place of CE on (x̂, ŷ), over all outputs that compete ("DGR + distillation");
      `class_mean`: see `lwf.py`
    - `widths`, `latent`: hidden layers and code of the autoencoder
    """

    def __init__(
        self,
        network: Network,
        *,
        labels: Literal["hard", "soft"],
        T: Positive,
        class_mean: bool,
        replay_batch_size: PositiveInt,
        widths: list[PositiveInt],
        latent: PositiveInt,
    ) -> None:
        super().__init__(network)
        refuse_real_numbers(network, "DGR")
        refuse_features(network, "DGR")
        self.labels, self.T, self.class_mean = labels, T, class_mean
        self.replay_batch_size = replay_batch_size
        self.generator = VAE(network.shape, widths, latent)
        self.before = copy.deepcopy(self.generator).requires_grad_(False)  # as the last task ended
        self.teacher = Teacher(network)

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        task, current = batch.task, self._own_loss(batch, batch.raw, "codes")
        if task.first:
            return {"task": task_loss(self.network(batch.x), batch), "generator": current}
        drawn, ids = self._drawn(batch), torch.arange(self.replay_batch_size, device=batch.x.device)
        x = task.train.pixels.augmented(drawn, ids, *batch.position, "replay")
        new, old = self.network(torch.cat([batch.x, x])).split([len(batch.y), len(x)])
        replayed, share = self._own_loss(batch, drawn, "codes of replay"), 1 / (task.index + 1)
        return {
            "task": share * task_loss(new, batch),
            "replay": (1 - share) * self._replay_loss(old, self.teacher(x), task),
            "generator": share * current + (1 - share) * replayed,
        }

    def _own_loss(self, batch: Batch, pictures: Tensor, purpose: str) -> Tensor:
        """V of pictures [B, C, H, W] uint8."""
        noise = self.generator.noise(len(pictures), *batch.position, purpose)
        return self.generator.loss(pictures / 255, noise)

    @torch.no_grad()
    def _drawn(self, batch: Batch) -> Tensor:
        """[R, C, H, W] uint8."""
        z = self.generator.noise(self.replay_batch_size, *batch.position, "replay")
        return (255 * self.before.pictures(z)).round().to(torch.uint8)

    def _replay_loss(self, logits: Tensor, teacher: Tensor, task: Task) -> Tensor:
        """Of drawn samples: mean over the groups of old classes that compete with each other."""
        its = task.likelihood
        if self.labels == "soft":
            teacher, groups = with_new_outputs(teacher, task)
            kd = its.distillation(logits, teacher, groups, self.T, True, self.class_mean)
            return kd / len(groups)
        labels = [its.mode(teacher, group) for group in task.old_groups]
        return torch.stack([its.loss(logits, y, task.competing) for y in labels]).mean()

    def end_task(self, task: Task) -> None:
        self.teacher.learn_from(self.network)
        self.before.load_state_dict(self.generator.state_dict())
