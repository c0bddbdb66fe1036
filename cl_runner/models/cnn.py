"""Two small convolutional networks: one for grey pictures, and a leaky one for colour."""

from __future__ import annotations

from torch import nn

from cl_runner.config.setting_types import Fraction, NonNegative, PositiveInt
from cl_runner.config.targets import target
from cl_runner.errors import ConfigError
from cl_runner.models.classifier import Classifier, Init, NewRows
from cl_runner.models.inserted import InsertedLayer
from cl_runner.models.network import Network


@target
def cnn(
    shape: tuple[int, int, int],
    classes: int,
    *,
    channels: list[PositiveInt],
    hidden: PositiveInt,
    classifier: Classifier,
    init: Init,
    new_rows: NewRows,
    inserted_layer: InsertedLayer,
) -> Network:
    """[conv 3×3 → ReLU] per channel count → max-pool 2 → linear → ReLU → classifier."""
    inputs, height, width = shape
    if min(height, width) < 2:
        allowed = f"convolve pictures of at least 2 × 2 pixels, and here are {height} × {width}"
        raise ConfigError.of("channels", channels, allowed, "model=mlp")
    layers: list[nn.Module] = []
    for outputs in channels:
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
        inputs = outputs
    flat = inputs * (height // 2) * (width // 2)
    layers += [nn.MaxPool2d(2), nn.Flatten(), nn.Linear(flat, hidden), nn.ReLU()]
    return Network(
        nn.Sequential(*layers),
        shape,
        hidden,
        classes,
        classifier=classifier,
        init=init,
        new_rows=new_rows,
        inserted_layer=inserted_layer,
    )


@target
def cnn_leaky(
    shape: tuple[int, int, int],
    classes: int,
    *,
    channels: list[PositiveInt],
    hidden: PositiveInt,
    negative_slope: NonNegative,
    dropout: Fraction,
    classifier: Classifier,
    init: Init,
    new_rows: NewRows,
) -> Network:
    """[conv 3×3 → leaky ReLU → max-pool 2] per channel count → linear → leaky ReLU → classifier.

    `dropout`: the share of the hidden layer's outputs that are dropped in training.
    """
    inputs, height, width = shape
    if min(height, width) < 2 ** len(channels):
        allowed = f"each one halves the picture, and {height} × {width} pixels are too few for that"
        raise ConfigError.of("channels", channels, allowed, "use fewer channels")
    layers: list[nn.Module] = []
    for outputs in channels:
        conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        layers += [conv, nn.LeakyReLU(negative_slope), nn.MaxPool2d(2)]
        inputs, height, width = outputs, height // 2, width // 2
    flat = inputs * height * width
    layers += [nn.Flatten(), nn.Linear(flat, hidden), nn.LeakyReLU(negative_slope)]
    if dropout > 0:
        layers.append(nn.Dropout(dropout))
    return Network(
        nn.Sequential(*layers),
        shape,
        hidden,
        classes,
        classifier=classifier,
        init=init,
        new_rows=new_rows,
    )
