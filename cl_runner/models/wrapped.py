"""A module of your own package as the body."""

from __future__ import annotations

import torch

from cl_runner.config.factory import Factory, path_of
from cl_runner.config.setting_types import Size
from cl_runner.config.targets import target
from cl_runner.models.bodies import (
    Body,
    Frozen,
    are_read,
    freeze,
    load,
    refuse_init,
    weights_in,
)
from cl_runner.models.classifier import Classifier, Init, NewRows
from cl_runner.models.network import FreezeStatistics, Network


@target
def wrapped(
    shape: tuple[int, int, int],
    classes: int,
    *,
    body: Factory[torch.nn.Module],
    weights: str | None,
    resize: Size | None,
    frozen: Frozen,
    classifier: Classifier,
    init: Init,
    new_rows: NewRows,
    freeze_statistics: FreezeStatistics,
) -> Network:
    """Any module as the body: it is called with pictures [B, C, H, W] and gives [B, features].

    - `body`: a class or function that is a target (`@target`). The run passes the shape [C, H, W]
      of the pictures, scaled if they are; its other parameters are settings. How many features it
      gives is found by a probe
    - `weights`: null: random, from the seed of the run; or a file with a state dict of it
    - `resize`, `frozen`: see `bodies.py`
    """
    refuse_init(weights, init)
    channels, height, width = shape
    layers = body((channels, resize or height, resize or width))
    if weights is not None and are_read(weights):
        load(layers, weights_in(weights), weights)
    freeze(layers, frozen)
    whole = Body(layers, shape, resize, path_of(body.target))
    return Network(
        whole,
        shape,
        whole.width,
        classes,
        classifier=classifier,
        init=init,
        new_rows=new_rows,
        freeze_statistics=freeze_statistics,
    )


@target
class Flat(torch.nn.Flatten):
    """The pixels themselves as features: with the classifier it is softmax regression."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
