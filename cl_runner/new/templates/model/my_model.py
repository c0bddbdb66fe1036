"""My model: one hidden layer."""

from __future__ import annotations

from math import prod

from cl_runner.config.setting_types import PositiveInt
from cl_runner.config.targets import target
from cl_runner.models.classifier import Init, NewRows
from cl_runner.models.network import Network
from torch import nn


@target
def my_model(
    shape: tuple[int, int, int],
    classes: int,
    *,
    width: PositiveInt,
    init: Init,
    new_rows: NewRows,
) -> Network:
    """Flattened picture → linear → ReLU → classifier, which grows with the classes."""
    body = nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), width), nn.ReLU())
    return Network(body, shape, width, classes, init=init, new_rows=new_rows)
