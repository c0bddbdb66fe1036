"""A variational autoencoder of pictures: the generator of generative replay and classifiers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cl_runner.randomness import Key, generator


class VAE(nn.Module):
    """p(x | z) p(z), with z of L numbers, and an encoder q(z | x), both perceptrons with ReLU.

    Kingma & Welling 2014, arXiv:1312.6114. Pictures are [B, C, H, W], from 0 to 1. log σ² of q has
    no bias, as in the code of van de Ven et al.
    """

    def __init__(self, shape: Sequence[int], widths: Sequence[int], latent: int) -> None:
        """widths: of the encoder's hidden layers; the decoder's are the same in reverse."""
        super().__init__()
        self.shape, self.latent = tuple(shape), latent
        there, back = [math.prod(shape), *widths], [latent, *reversed(widths)]
        self.encoder = _layers(there)
        self.mean = nn.Linear(there[-1], latent)  # of q
        self.log_variance = nn.Linear(there[-1], latent, bias=False)  # log σ² of q
        self.decoder = _layers(back)
        self.pixels = nn.Linear(back[-1], math.prod(shape))

    def loss(self, pictures: Tensor, noise: Tensor) -> Tensor:
        """−ELBO / (C · H · W), mean over the batch: the binary cross-entropy of pixels plus
        KL(q(z | x) ‖ N(0, 1)), each divided by the number of pixels. noise: [B, L], of N(0, 1)."""
        x = pictures.flatten(1)
        mean, log_variance = self._code(x)
        z = mean + noise * (log_variance / 2).exp()
        bits = F.binary_cross_entropy_with_logits(self._logits(z), x, reduction="none").sum(1)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
        total: Tensor = (bits + kl).mean() / x.shape[1]
        return total

    def pictures(self, z: Tensor) -> Tensor:
        """[B, C, H, W] of codes [B, L]: the means of p(x | z)."""
        return torch.sigmoid(self._logits(z)).view(-1, *self.shape)

    def log_p(self, pictures: Tensor, noise: Tensor) -> Tensor:
        """log p(x) of each picture [B], up to a constant, by importance sampling (Burda et al.
        2016, arXiv:1509.00519, eq. 8), where p(x | z) is normal with a variance of one.

        noise: [S, L], of N(0, 1); all pictures share it, so the estimate of one does not depend on
        the others. It holds one draw for all pictures at a time in memory.
        """
        x = pictures.flatten(1)
        mean, log_variance = self._code(x)
        std, weights = (log_variance / 2).exp(), []
        for e in noise:
            z = mean + e * std
            given_z = -0.5 * (x - torch.sigmoid(self._logits(z))).square().sum(1)
            prior = -0.5 * z.square().sum(1)
            q = -0.5 * (e.square() + log_variance).sum(1)
            weights.append(given_z + prior - q)
        return torch.logsumexp(torch.stack(weights), 0) - math.log(len(noise))

    def noise(self, samples: int, *position: Key) -> Tensor:
        """[samples, L] of N(0, 1), a function of the position."""
        drawn = torch.randn(samples, self.latent, generator=generator(*position))
        return drawn.to(self.pixels.weight.device)

    def _code(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log σ² of q, [B, L] each, of pixels [B, C · H · W]."""
        code = self.encoder(x)
        return self.mean(code), self.log_variance(code)

    def _logits(self, z: Tensor) -> Tensor:
        logits: Tensor = self.pixels(self.decoder(z))
        return logits


def _layers(widths: Sequence[int]) -> nn.Sequential:
    parts = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*parts)
