"""A network with a growing classifier.

The classifier has a row for every class of the stream. A class not seen yet has a row of zeros
and its output is masked to −∞; its row is drawn when its task begins. So shapes never change,
old rows, biases and optimizer state stay untouched, and weight decay acts on nothing unborn.

Two things may change when the second task begins: a hidden layer may be inserted before the
classifier, drawn as torch draws it or the identity (which changes nothing at first, as features
behind a ReLU are not negative); BatchNorm's statistics may be frozen at those of the first task.
"""

from __future__ import annotations

import math
from typing import Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cl_runner.randomness import seeded
from cl_runner.stream import Task

Init = Literal["default", "kaiming_normal"]
NewRows = Literal["zero", "default", "kaiming_normal"]
InsertedLayer = Literal["none", "random", "identity"]


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
        inserted_layer: InsertedLayer = "none",
        freeze_statistics: bool = False,
    ) -> None:
        super().__init__()
        self.body = body
        self.shape = shape
        self.inserted = None if inserted_layer == "none" else _no_layer_yet(features)
        self.classifier = GrowingClassifier(features, classes)
        self.stage = Stage()
        self.init: Init = init
        self.new_rows: NewRows = new_rows
        self.inserted_layer: InsertedLayer = inserted_layer
        self.freeze_statistics = freeze_statistics
        if init == "kaiming_normal":
            for module in body.modules():
                _kaiming_normal(module)

    @property
    def regression(self) -> bool:
        """Whether its output is a real number: one class alone is none to tell apart."""
        return len(self.classifier.weight) == 1

    def forward(self, x: Tensor) -> Tensor:
        """[B, C]; −∞ for classes not born yet."""
        logits: Tensor = self.classifier(self.features(x))
        return logits

    def features(self, x: Tensor) -> Tensor:
        """[B, features]: what the classifier sees."""
        features: Tensor = self.body(x)
        if self.inserted is not None and self.stage.later:
            features = self.inserted(features)
        return features

    def grow(self, task: Task) -> None:
        """Give birth to the classes of this task; the first ones are drawn as the body is."""
        how = self.init if task.first else self.new_rows
        with seeded(task.seed, task.index, "classifier rows"):
            self.classifier.grow(task.born, how)
        if task.index == 1:
            self.stage.later = True
            if self.inserted is not None:
                with seeded(task.seed, "inserted layer"):
                    self._insert(self.inserted)

    @torch.no_grad()
    def _insert(self, inserted: nn.Sequential) -> None:
        layer = inserted.get_submodule("0")
        assert isinstance(layer, nn.Linear)
        if self.inserted_layer == "identity":
            nn.init.eye_(layer.weight)
            return
        # torch's own initialisation whatever `init` says: published numbers were made so.
        drawn = nn.Linear(layer.in_features, layer.out_features)
        layer.weight.copy_(drawn.weight)
        layer.bias.copy_(drawn.bias)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.freeze_statistics and self.stage.later:
            for module in self.body.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self


def _no_layer_yet(features: int) -> nn.Sequential:
    """Linear → ReLU, all zero; made without a random draw, so that the rest is as without it."""
    layer = nn.utils.skip_init(nn.Linear, features, features)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return nn.Sequential(layer, nn.ReLU())


class Stage(nn.Module):
    """Whether a second task has begun: what may then be different is so from there on."""

    def __init__(self) -> None:
        super().__init__()
        self.later = False

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self.later)

    def set_extra_state(self, state: Tensor) -> None:
        self.later = bool(state)


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
