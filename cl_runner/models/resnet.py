"""ResNet-18 for small pictures."""

from __future__ import annotations

from torch import nn

from cl_runner.config.setting_types import PositiveInt
from cl_runner.config.targets import target
from cl_runner.models.bodies import Frozen, freeze
from cl_runner.models.classifier import Classifier, Init, NewRows
from cl_runner.models.network import FreezeStatistics, Network

STANDARD = 64
"""Filters of torchvision's first stage; each later one has twice as many as the one before."""


@target
def resnet18(
    shape: tuple[int, int, int],
    classes: int,
    *,
    width: PositiveInt,
    frozen: Frozen,
    classifier: Classifier,
    init: Init,
    new_rows: NewRows,
    freeze_statistics: FreezeStatistics,
) -> Network:
    """torchvision's ResNet-18 (He et al. 2016) with the usual stem for 32 × 32 pictures.

    The first convolution is 3 × 3 with stride 1, and there is no max-pool before the blocks.
    `width`: filters of the first stage; the others have 2, 4 and 8 times as many. 20 is the narrow
    form of Lopez-Paz & Ranzato 2017, with 1.1 million weights. `frozen`: see `bodies.py`.
    """
    from torchvision.models import resnet18 as torchvision_resnet18  # takes seconds to import

    body = torchvision_resnet18(weights=None)
    if width != STANDARD:
        _set_width(body, width)
    body.conv1 = nn.Conv2d(shape[0], width, 3, padding=1, bias=False)
    body.maxpool = nn.Identity()
    body.fc = nn.Identity()
    freeze(body, frozen)
    return Network(
        body,
        shape,
        8 * width,
        classes,
        classifier=classifier,
        init=init,
        new_rows=new_rows,
        freeze_statistics=freeze_statistics,
    )


def _set_width(body: nn.Module, width: int) -> None:
    """Replace the stages by others of this width, drawn as torchvision draws them."""
    body.bn1, inputs = nn.BatchNorm2d(width), width
    for stage in range(4):
        outputs = width * 2**stage
        layer = nn.Sequential(
            _block(inputs, outputs, stride=1 if stage == 0 else 2), _block(outputs, outputs)
        )
        setattr(body, f"layer{stage + 1}", layer)
        inputs = outputs
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    from torchvision.models.resnet import BasicBlock

    shortcut = None
    if stride != 1 or inputs != outputs:
        convolution = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        shortcut = nn.Sequential(convolution, nn.BatchNorm2d(outputs))
    block: nn.Module = BasicBlock(inputs, outputs, stride, shortcut)
    return block
