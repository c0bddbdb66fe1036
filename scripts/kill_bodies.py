"""A small convolutional body with BatchNorm, whose parts the kill campaign freezes."""

from __future__ import annotations

from torch import nn

from cl_runner.config.targets import target


@target
class SmallBody(nn.Sequential):
    """Pictures [B, C, H, W] → features [B, 8]. Its parts are `stem`, `stage` and `top`."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        for name, inputs, outputs in (("stem", shape[0], 4), ("stage", 4, 8), ("top", 8, 8)):
            convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
            self.add_module(name, nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU()))
        self.add_module("pool", nn.AdaptiveAvgPool2d(1))
