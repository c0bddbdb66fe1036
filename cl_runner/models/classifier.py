"""The classifier of a network: a layer whose rows are born group by group.

It has a row for every class of the stream. Rows that are born together share a parameter, so that
shapes never change and each group has its own optimizer state. Before its task begins, a class has
a row of zeros and an output of −∞; then its row is drawn. A step changes no rows that compete for
none of its samples and that no term touches: no gradient, momentum or weight decay acts on them.
So it behaves like separate heads.

As one layer, all rows are one parameter that is drawn at the first task. A class still has an
output of −∞ before its task begins, but penalties, momentum and weight decay act on all rows in
every step.

- `linear`: w · f + b
- `cosine`: η · cos(w, f) without bias, where η is learned, the same for all rows, and 1 at first
            (Hou et al., CVPR 2019, "cosine normalization"): no class wins by a longer row
- `nearest_mean`: learned as `linear`; samples are classified by `nearest_mean.py`
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cl_runner.config.setting_types import LATER

Classifier = Literal["linear", "cosine", "nearest_mean"]
Init = Literal["default", "kaiming_normal", "xavier_uniform", "truncated_normal"]
NewRows = Annotated[
    Literal["zero", "default", "kaiming_normal", "xavier_uniform", "truncated_normal"], LATER
]


class GrowingClassifier(nn.Module):
    """A layer whose rows are born group by group; at first one group has all rows."""

    scale: nn.Parameter | None  # η; None: linear

    def __init__(self, features: int, classes: int, kind: Classifier = "linear") -> None:
        super().__init__()
        self.features, self.kind = features, kind
        scale = nn.Parameter(torch.ones(())) if kind == "cosine" else None
        self.register_parameter("scale", scale)
        self.split([classes])

    def split(self, sizes: Sequence[int], one_layer: bool = False) -> None:
        """Set the number of rows in each group, all unborn. Each group is its own parameter, unless
        they are one layer."""
        self.sizes = list(sizes)
        self.born = 0  # number of groups
        parameters = [sum(sizes)] if one_layer else self.sizes
        self.weights = nn.ParameterList(torch.zeros(n, self.features) for n in parameters)
        linear = parameters if self.scale is None else ()
        self.biases = nn.ParameterList(torch.zeros(n) for n in linear)

    @property
    def one_layer(self) -> bool:
        """Whether all rows are one parameter."""
        return len(self.weights) == 1

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self.born)

    def set_extra_state(self, state: Tensor) -> None:
        if not 0 <= int(state) <= len(self.sizes):
            raise ValueError(f"{int(state)} of {len(self.sizes)} groups of rows cannot be born")
        self.born = int(state)

    @property
    def groups(self) -> list[list[nn.Parameter]]:
        """The parameters of the rows that are drawn together, group by group."""
        lists = [self.weights, self.biases] if self.scale is None else [self.weights]
        return [list(group) for group in zip(*lists, strict=True)]

    @property
    def undrawn(self) -> list[nn.Parameter]:
        """The parameters of rows that wait for their task."""
        drawn = min(self.born, len(self.weights))
        return [p for group in self.groups[drawn:] for p in group]

    @property
    def weight(self) -> Tensor:
        """[C, features]; zeros for classes not born yet."""
        return torch.cat(list(self.weights))

    def forward(self, features: Tensor) -> Tensor:
        """[B, C]; −∞ for classes not born yet, whose rows get no gradient, or one of zero."""
        weight, bias = self._rows()
        if self.scale is None:
            return F.linear(features, weight, bias)
        directions = F.normalize(weight, dim=1)
        return F.linear(self.scale * F.normalize(features, dim=1), directions, bias)

    def _rows(self) -> tuple[Tensor, Tensor | None]:
        """[C, features] and [C], the second −∞ for classes not born yet."""
        linear = self.scale is None
        unborn, like = sum(self.sizes[self.born :]), self.weights[0]
        if self.one_layer:
            return self.weights[0], self._bias_of_one_layer(unborn)
        # list(...) first: a slice of a ParameterList makes new parameters.
        weights = [*list(self.weights)[: self.born], like.new_zeros(unborn, self.features)]
        none = [like.new_zeros(n) for n in self.sizes[: self.born]]
        biases = list(self.biases)[: self.born] if linear else none
        return torch.cat(weights), torch.cat([*biases, like.new_full((unborn,), -math.inf)])

    def _bias_of_one_layer(self, unborn: int) -> Tensor | None:
        bias: Tensor | None = self.biases[0] if self.scale is None else None
        if unborn == 0:
            return bias
        hidden: Tensor = self.weights[0].new_zeros(len(self.weights[0]))
        hidden[-unborn:] = -math.inf
        return hidden if bias is None else bias + hidden

    @torch.no_grad()
    def grow(self, born: range, how: NewRows) -> None:
        """Draw the rows of the next group, which must be these classes; none if there are none."""
        if len(born) == 0:
            return
        start, size = sum(self.sizes[: self.born]), self.sizes[self.born]
        assert born == range(start, start + size), (born, self.sizes)
        if self.born < len(self.weights):
            self._draw(self.groups[self.born], how)
        self.born += 1

    def _draw(self, group: Sequence[nn.Parameter], how: NewRows) -> None:
        layer = nn.Linear(self.features, len(group[0]))
        if how != "zero":
            initialise(layer, how)
            for parameter, value in zip(group, (layer.weight, layer.bias), strict=False):
                parameter.copy_(value)

    def leave_alone_what_rests(self, all_compete: bool) -> None:
        """After the backward pass, remove the gradients of unborn rows and, unless `all_compete`,
        of groups whose gradient is zero.

        An optimizer acts on a gradient of zero too, by momentum and weight decay, and Adam turns
        the smallest decay into full steps.
        """
        if self.one_layer or (self.born == len(self.sizes) and all_compete):
            return
        groups = self.groups
        resting = groups[self.born :]
        if not all_compete and self.born > 1:
            resting += _untouched(groups[: self.born])
        for parameter in (p for group in resting for p in group):
            parameter.grad = None


def _untouched(groups: Sequence[list[nn.Parameter]]) -> list[list[nn.Parameter]]:
    """The groups with a gradient of zero, found with a single transfer from the device."""
    gradients = [[p.grad for p in group if p.grad is not None] for group in groups]
    learning = [n for n, own in enumerate(gradients) if len(own) == len(groups[n])]
    if not learning:
        return []
    touched = [reduce(or_, (g.any() for g in gradients[n])) for n in learning]
    flags = zip(learning, torch.stack(touched).tolist(), strict=True)
    return [groups[n] for n, is_touched in flags if not is_touched]


def initialise(module: nn.Module, how: Init) -> None:
    """Draw the weights of a convolution or a linear layer again, with biases of zero.

    `kaiming_normal`: He et al. 2015, with ReLU's gain for convolutions and 1 for linear layers;
    `xavier_uniform`: Glorot & Bengio 2010; `truncated_normal`: with a standard deviation of 0.1
    before values beyond 0.2 are drawn again, and biases of 0.1, as early code for TensorFlow has it
    (Chaudhry et al. 2019); `default`: they stay as torch has drawn them.
    """
    if how == "default" or not isinstance(module, nn.Conv2d | nn.Linear):
        return
    if how == "kaiming_normal":
        convolution = isinstance(module, nn.Conv2d)
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu" if convolution else "linear")
    elif how == "xavier_uniform":
        nn.init.xavier_uniform_(module.weight)
    else:
        nn.init.trunc_normal_(module.weight, std=0.1, a=-0.2, b=0.2)
    if module.bias is not None:
        nn.init.constant_(module.bias, 0.1 if how == "truncated_normal" else 0.0)
