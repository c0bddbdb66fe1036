"""A network with a growing classifier.

The classifier has a row for every class of the stream, in one parameter for each group of rows that
are born together. A class not seen yet has a row of zeros and its output is −∞; its row is drawn
when its task begins. So shapes never change, and each group has optimizer state of its own. Rows
that compete for no sample of a step, and that no term touches, are left alone by that step: by
gradient, momentum and weight decay alike. It all behaves as separate heads would.

Two things may change when the second task begins: a hidden layer may be inserted before the
classifier, drawn as torch draws it or the identity (which changes nothing at first, as features
behind a ReLU are not negative); BatchNorm's statistics may be frozen at those of the first task.
Without that they move in every step of later tasks, also where the head alone learns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cl_runner.config.setting_types import LATER, Traits
from cl_runner.data.stream import Task
from cl_runner.randomness import seeded

Init = Literal["default", "kaiming_normal"]
NewRows = Annotated[Literal["zero", "default", "kaiming_normal"], LATER]
InsertedLayer = Annotated[Literal["none", "random", "identity"], LATER | Traits(adds_weights=True)]
FreezeStatistics = Annotated[bool, LATER]


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
    def classes(self) -> int:
        """Outputs: the classes of the whole stream."""
        return sum(self.classifier.sizes)

    @property
    def regression(self) -> bool:
        """Whether its output is a real number: one class alone is none to tell apart."""
        return self.classes == 1

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

    def by_age(self, parameters: Sequence[nn.Parameter]) -> list[list[nn.Parameter]]:
        """These parameters, together those that begin to learn together: an inserted layer and each
        group of rows begin later than all else, so an optimizer knows less of them."""
        later = [list(self.inserted.parameters())] if self.inserted is not None else []
        later += [
            list(rows) for rows in zip(self.classifier.weights, self.classifier.biases, strict=True)
        ]
        age_of = {parameter: age for age, group in enumerate(later, start=1) for parameter in group}
        groups: list[list[nn.Parameter]] = [[] for _ in range(len(later) + 1)]
        for parameter in parameters:
            groups[age_of.get(parameter, 0)].append(parameter)
        return [group for group in groups if group]

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
    """A linear layer whose rows are born group by group. Made with all rows in one group."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.features = features
        self.split([classes])

    def split(self, sizes: Sequence[int]) -> None:
        """Rows that are born together, so many each: a parameter of its own for each group."""
        self.sizes = list(sizes)
        self.born = 0  # groups
        self.weights = nn.ParameterList(torch.zeros(n, self.features) for n in sizes)
        self.biases = nn.ParameterList(torch.zeros(n) for n in sizes)

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self.born)

    def set_extra_state(self, state: Tensor) -> None:
        if not 0 <= int(state) <= len(self.sizes):
            raise ValueError(f"{int(state)} of {len(self.sizes)} groups of rows cannot be born")
        self.born = int(state)

    @property
    def weight(self) -> Tensor:
        """[C, features]; zeros for classes not born yet."""
        return torch.cat(list(self.weights))

    @property
    def bias(self) -> Tensor:
        """[C]; zeros for classes not born yet."""
        return torch.cat(list(self.biases))

    def forward(self, features: Tensor) -> Tensor:
        """[B, C]; −∞ for classes not born yet, whose parameters take no part."""
        unborn, like = sum(self.sizes[self.born :]), self.weights[0]
        # list(...) first: a slice of a ParameterList makes parameters of its own.
        weights = [*list(self.weights)[: self.born], like.new_zeros(unborn, self.features)]
        biases = [*list(self.biases)[: self.born], like.new_full((unborn,), -math.inf)]
        return F.linear(features, torch.cat(weights), torch.cat(biases))

    @torch.no_grad()
    def grow(self, born: range, how: NewRows) -> None:
        """Give birth to the next group, which are these classes; to none if there are none."""
        if len(born) == 0:
            return
        start, size = sum(self.sizes[: self.born]), self.sizes[self.born]
        assert born == range(start, start + size), (born, self.sizes)
        layer = nn.Linear(self.features, size)
        if how == "kaiming_normal":
            _kaiming_normal(layer)
        if how != "zero":
            self.weights[self.born].copy_(layer.weight)
            self.biases[self.born].copy_(layer.bias)
        self.born += 1

    def leave_alone_what_rests(self, all_compete: bool) -> None:
        """After the backward pass: no gradient instead of one of zero for rows that are not born
        yet and, unless `all_compete`, for groups of rows that nothing has touched.

        An optimizer acts on a gradient of zero too: with its momentum, with its weight decay, and
        Adam turns the smallest decay into steps as large as any other.
        """
        groups = list(zip(self.weights, self.biases, strict=True))
        resting = groups[self.born :]
        if not all_compete and self.born > 1:
            resting += _untouched(groups[: self.born])
        for weight, bias in resting:
            weight.grad = bias.grad = None


def _untouched(groups: Sequence[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """Those whose gradient is zero, or that have none; the device is asked once."""
    learning = [g for g in groups if g[0].grad is not None and g[1].grad is not None]
    if not learning:
        return []
    touched = torch.stack([w.grad.any() | b.grad.any() for w, b in learning]).tolist()  # type: ignore[union-attr]
    return [group for group, is_touched in zip(learning, touched, strict=True) if not is_touched]


def _kaiming_normal(module: nn.Module) -> None:
    """He et al. 2015: gain of ReLU for convolutions, gain 1 for linear layers; zero biases."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        convolution = isinstance(module, nn.Conv2d)
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu" if convolution else "linear")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
