"""ResNet-18 for small pictures."""

from __future__ import annotations

from torch import nn

from cl_runner.config.targets import target
from cl_runner.models.classifier import Init, NewRows
from cl_runner.models.network import FreezeStatistics, Network


@target
def resnet18(
    shape: tuple[int, int, int],
    classes: int,
    *,
    init: Init,
    new_rows: NewRows,
    freeze_statistics: FreezeStatistics,
) -> Network:
    """torchvision's ResNet-18 (He et al. 2016) with the usual stem for 32 × 32 pictures.

    The first convolution is 3 × 3 with stride 1, and there is no max-pool before the blocks.
    """
    from torchvision.models import resnet18 as torchvision_resnet18  # takes seconds to import

    body = torchvision_resnet18(weights=None)
    body.conv1 = nn.Conv2d(shape[0], 64, 3, padding=1, bias=False)
    body.maxpool = nn.Identity()
    features = body.fc.in_features
    body.fc = nn.Identity()
    return Network(
        body,
        shape,
        features,
        classes,
        init=init,
        new_rows=new_rows,
        freeze_statistics=freeze_statistics,
    )
