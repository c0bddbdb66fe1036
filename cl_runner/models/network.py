"""A network with a growing classifier.

The classifier has a row for every class of the stream. A class not seen yet has a row of zeros
and its output is masked to −∞; its row is drawn when its task begins. So shapes never change,
old rows, biases and optimizer state stay untouched, and weight decay acts on nothing unborn.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cl_runner.randomness import seeded
from cl_runner.stream import Task

Init = Literal["default", "kaiming_normal"]
NewRows = Literal["zero", "default", "kaiming_normal"]


class Network(nn.Module):
    """Logits of all C classes from pictures [B, channels, H, W]."""

    def __init__(
        self,
        body: nn.Module,
        shape: tuple[int, int, int],
        features: int,
        classes: int,
        *,
        init: Init,
        new_rows: NewRows,
    ) -> None:
        super().__init__()
        self.body = body
        self.shape = shape
        self.classifier = GrowingClassifier(features, classes)
        self.init: Init = init
        self.new_rows: NewRows = new_rows
        if init == "kaiming_normal":
            for module in body.modules():
                _kaiming_normal(module)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C]; −∞ for classes not born yet."""
        logits: Tensor = self.classifier(self.body(x))
        return logits

    def features(self, x: Tensor) -> Tensor:
        """[B, features]: what the classifier sees."""
        features: Tensor = self.body(x)
        return features

    def grow(self, task: Task) -> None:
        """Give birth to the classes of this task; the first ones are drawn as the body is."""
        how = self.init if task.first else self.new_rows
        with seeded(task.seed, task.index, "classifier rows"):
            self.classifier.grow(task.born, how)


class GrowingClassifier(nn.Module):
    """A linear layer whose rows are born task by task."""

    unborn: Tensor

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(classes, features))
        self.bias = nn.Parameter(torch.zeros(classes))
        self.register_buffer("unborn", torch.full((classes,), -math.inf))

    def forward(self, features: Tensor) -> Tensor:
        return F.linear(features, self.weight, self.bias + self.unborn)

    @torch.no_grad()
    def grow(self, born: range, how: NewRows) -> None:
        if len(born) == 0:
            return
        rows = slice(born.start, born.stop)
        layer = nn.Linear(self.weight.shape[1], len(born))
        if how == "kaiming_normal":
            _kaiming_normal(layer)
        if how != "zero":
            self.weight[rows] = layer.weight.to(self.weight.device)
            self.bias[rows] = layer.bias.to(self.bias.device)
        self.unborn[rows] = 0.0


def _kaiming_normal(module: nn.Module) -> None:
    """He et al. 2015: gain of ReLU for convolutions, gain 1 for linear layers; zero biases."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        convolution = isinstance(module, nn.Conv2d)
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu" if convolution else "linear")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
