"""Multilayer perceptron."""

from __future__ import annotations

from math import prod
from typing import Literal

from torch import nn

from cl_runner.config.setting_types import PositiveInt
from cl_runner.config.targets import target
from cl_runner.errors import ConfigError
from cl_runner.models.classifier import Classifier, Init, NewRows
from cl_runner.models.inserted import InsertedLayer
from cl_runner.models.network import FreezeStatistics, Network

ACTIVATIONS = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


@target
def mlp(
    shape: tuple[int, int, int],
    classes: int,
    *,
    widths: list[PositiveInt],
    activation: Literal["relu", "leaky_relu", "tanh", "sigmoid"],
    batch_norm: bool,
    freeze_statistics: FreezeStatistics,
    classifier: Classifier,
    init: Init,
    new_rows: NewRows,
    inserted_layer: InsertedLayer,
) -> Network:
    """Flattened picture → [linear → (BatchNorm) → activation] for each width → classifier.

    `freeze_statistics` and `inserted_layer`: see `network.py`.
    """
    if inserted_layer == "identity" and activation in ("tanh", "leaky_relu"):
        allowed = f"does not work after {activation}: the inserted ReLU would cut negative values"
        raise ConfigError.of("inserted_layer", inserted_layer, allowed, "activation=relu")
    layers: list[nn.Module] = [nn.Flatten()]
    inputs = prod(shape)
    for width in widths:
        # BatchNorm removes a bias: its gradient would be noise, which Adam turns into steps.
        layers.append(nn.Linear(inputs, width, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm1d(width))
        layers.append(ACTIVATIONS[activation]())
        inputs = width
    return Network(
        nn.Sequential(*layers),
        shape,
        inputs,
        classes,
        classifier=classifier,
        init=init,
        new_rows=new_rows,
        inserted_layer=inserted_layer,
        freeze_statistics=freeze_statistics,
    )
