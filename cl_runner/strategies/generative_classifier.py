"""The generative classifier: each class has an autoencoder of its own, so nothing is forgotten."""

import torch
from torch import Tensor, nn

from cl_runner.config.setting_types import PositiveInt
from cl_runner.data.batches import Batch
from cl_runner.data.samples import Pixels
from cl_runner.data.stream import Stream, Task
from cl_runner.errors import ConfigError
from cl_runner.models.network import Network
from cl_runner.models.vae import VAE
from cl_runner.strategies.parts.losses import refuse_features, refuse_real_numbers
from cl_runner.strategies.strategy import Strategy


class GenerativeClassifier(Strategy):
    """L(φ) = Σ_c V(φ_c) on the samples of class c,   s_c(x) = log p(x | φ_c)

    Van de Ven, Li & Tolias 2021, arXiv:2104.10093. V is the loss of a variational autoencoder φ_c,
    which sees its own class alone; all classes count as equally likely. p(x) is estimated with
    `samples` draws of the encoder, the same noise for each picture; p(x | z) is normal with a
    variance of one. The network of the run takes no part: it is neither trained nor asked.

    - `widths`, `latent`: hidden layers and code of each autoencoder
    """

    mean: Tensor  # [C, 1, 1] of the pixels: the network's input, undone, is in [0, 1] again
    std: Tensor  # [C, 1, 1]
    noise: Tensor  # [samples, L]

    def __init__(
        self,
        network: Network,
        *,
        widths: list[PositiveInt],
        latent: PositiveInt,
        samples: PositiveInt,
    ) -> None:
        super().__init__(network)
        refuse_real_numbers(network, "GenerativeClassifier")
        refuse_features(network, "GenerativeClassifier")
        for parameter in network.parameters():
            parameter.requires_grad_(False)
        self.models = nn.ModuleList(
            VAE(network.shape, widths, latent) for _ in range(network.classes)
        )
        self.register_buffer("mean", torch.zeros(network.shape[0], 1, 1))
        self.register_buffer("std", torch.ones(network.shape[0], 1, 1))
        self.register_buffer("noise", torch.randn(samples, latent))

    def training_size(self, stream: Stream, task: Task) -> int:
        if _pixels(task).per_picture:
            key = "dataset.pixels.per_picture"
            allowed = "cannot be undone, and the generative classifier needs pictures from 0 to 1"
            raise ConfigError.of(key, True, allowed, f"{key}=false")
        return super().training_size(stream, task)

    def begin_task(self, task: Task) -> None:
        self.mean.copy_(_pixels(task).mean)
        self.std.copy_(_pixels(task).std)

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        x, losses = self._pictures(batch.x), []
        for c in batch.y.unique().tolist():
            of_class, model = x[batch.y == c], self._of(c)
            noise = model.noise(len(of_class), *batch.position, f"codes of class {c}")
            losses.append(model.loss(of_class, noise))
        return {"generator": torch.stack(losses).sum()}

    def predict(self, x: Tensor) -> Tensor:
        """[B, C]: log p(x | c), up to a constant."""
        pictures = self._pictures(x)
        scores = [self._of(c).log_p(pictures, self.noise) for c in range(len(self.models))]
        return torch.stack(scores, dim=1)

    def _pictures(self, x: Tensor) -> Tensor:
        return (x * self.std + self.mean).clamp(0, 1)  # rounding may leave them by an ulp

    def _of(self, c: int) -> VAE:
        model = self.models[c]
        assert isinstance(model, VAE)
        return model


def _pixels(task: Task) -> Pixels:
    pixels = task.train.pixels
    assert isinstance(pixels, Pixels)
    return pixels
