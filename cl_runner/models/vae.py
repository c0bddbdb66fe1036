"""A variational autoencoder of pictures: the generator of generative replay."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class VAE(nn.Module):
    """p(x | z) p(z), with z of L numbers, and an encoder q(z | x), both perceptrons with ReLU.

    Kingma & Welling 2014, arXiv:1312.6114. Pictures are [B, C, H, W], from 0 to 1. log σ² of q has
    no bias, as in the code of van de Ven et al.
    """

    def __init__(self, shape: Sequence[int], widths: Sequence[int], latent: int) -> None:
        """widths: of the encoder's hidden layers; the decoder's are the same in reverse."""
        super().__init__()
        self.shape, self.latent = tuple(shape), latent
        there, back = [prod(shape), *widths], [latent, *reversed(widths)]
        self.encoder = _layers(there)
        self.mean = nn.Linear(there[-1], latent)  # of q
        self.log_variance = nn.Linear(there[-1], latent, bias=False)  # log σ² of q
        self.decoder = _layers(back)
        self.pixels = nn.Linear(back[-1], prod(shape))

    def loss(self, pictures: Tensor, noise: Tensor) -> Tensor:
        """−ELBO / (C · H · W), mean over the batch: the binary cross-entropy of pixels plus
        KL(q(z | x) ‖ N(0, 1)), each divided by the number of pixels. noise: [B, L], of N(0, 1)."""
        x = pictures.flatten(1)
        code = self.encoder(x)
        mean, log_variance = self.mean(code), self.log_variance(code)
        z = mean + noise * (log_variance / 2).exp()
        bits = F.binary_cross_entropy_with_logits(self._logits(z), x, reduction="none").sum(1)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
        total: Tensor = (bits + kl).mean() / x.shape[1]
        return total

    def pictures(self, z: Tensor) -> Tensor:
        """[B, C, H, W] of codes [B, L]: the means of p(x | z)."""
        return torch.sigmoid(self._logits(z)).view(-1, *self.shape)

    def _logits(self, z: Tensor) -> Tensor:
        logits: Tensor = self.pixels(self.decoder(z))
        return logits


def _layers(widths: Sequence[int]) -> nn.Sequential:
    parts = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*parts)
