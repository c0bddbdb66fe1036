"""The hidden layer that may be inserted before the classifier when the second task begins."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import nn

from cl_runner.config.setting_types import LATER, Traits

InsertedLayer = Annotated[Literal["none", "random", "identity"], LATER | Traits(adds_weights=True)]


def zero_layer(features: int) -> nn.Sequential:
    """Linear → ReLU, all zero. Made without a random draw, so other draws stay the same."""
    layer = nn.utils.skip_init(nn.Linear, features, features)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return nn.Sequential(layer, nn.ReLU())


@torch.no_grad()
def draw_layer(inserted: nn.Sequential, how: InsertedLayer) -> None:
    """Set its weights to the identity, or draw them."""
    layer = inserted.get_submodule("0")
    assert isinstance(layer, nn.Linear)
    if how == "identity":
        nn.init.eye_(layer.weight)
        return
    # torch's own initialisation, whatever `init` is: the published numbers need it.
    drawn = nn.Linear(layer.in_features, layer.out_features)
    layer.weight.copy_(drawn.weight)
    layer.bias.copy_(drawn.bias)
