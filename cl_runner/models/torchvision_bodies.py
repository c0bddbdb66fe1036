"""The classification models of torchvision as bodies, with weights of their own or random."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

from cl_runner.config.setting_types import Size
from cl_runner.config.targets import target
from cl_runner.errors import ConfigError, first_line, nearest
from cl_runner.models.bodies import (
    Body,
    Frozen,
    are_read,
    freeze,
    load,
    refuse_init,
    tell_what_they_expect,
    weights_in,
)
from cl_runner.models.classifier import Classifier, Init, NewRows
from cl_runner.models.network import FreezeStatistics, Network

IMAGENET = 1000
"""The classes of torchvision's own classifiers."""
AUXILIARY = ("googlenet", "inception_v3")
"""Those with further classifiers in between."""
OLD_NAME = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d)")
"""Of a layer of DenseNet in its published file."""


@target
def torchvision_body(
    shape: tuple[int, int, int],
    classes: int,
    *,
    body: str,
    weights: str | None,
    resize: Size | None,
    frozen: Frozen,
    classifier: Classifier,
    init: Init,
    new_rows: NewRows,
    freeze_statistics: FreezeStatistics,
) -> Network:
    """A classification model of torchvision; the growing classifier takes the place of its last
    layer.

    - `weights`: null: random, as torchvision draws them, from the seed of the run; `DEFAULT`:
      torchvision's own, downloaded once; or a file with a state dict, of which the last layer is
      not used
    - `resize`, `frozen`: see `bodies.py`
    """
    refuse_init(weights, init)
    layers = _built(body, weights)
    freeze(layers, frozen)
    whole = Body(layers, shape, resize, body)
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


def _built(name: str, weights: str | None) -> nn.Module:
    from torchvision import models  # takes seconds to import

    known = models.list_models(module=models)
    if name not in known:
        hint = nearest(name, known) or "such as resnet18, resnet50, vit_b_16"
        raise ConfigError.of("body", name, "torchvision has no such model for classes", hint)
    options: dict[str, Any] = {}
    if name in AUXILIARY:  # as torchvision builds them for its own weights
        trained = weights is not None
        options = {"aux_logits": False, "init_weights": True, "transform_input": trained}
    layers: nn.Module = models.get_model(name, weights=None, **options)
    last = _last(layers)
    layers.set_submodule(last, nn.Identity())
    if weights is not None and are_read(weights):
        state = _downloaded(name) if weights == "DEFAULT" else weights_in(weights)
        unused = (f"{last}.", "aux1.", "aux2.", "AuxLogits.")
        kept = {OLD_NAME.sub(r"\1\2", k): v for k, v in state.items() if not k.startswith(unused)}
        load(layers, kept, weights)
    return layers


def _last(layers: nn.Module) -> str:
    """The name of the layer that gives the classes."""
    named: list[str] = [
        name
        for name, module in layers.named_modules()
        if getattr(module, "out_features", getattr(module, "out_channels", None)) == IMAGENET
    ]
    return named[-1]


def _downloaded(name: str) -> dict[str, Tensor]:
    """The state dict of torchvision's best weights. Raises ConfigError if they cannot be had."""
    from torchvision import models

    found = models.get_model_weights(name).DEFAULT
    try:
        state: dict[str, Tensor] = found.get_state_dict(progress=False, check_hash=True)
    except Exception as error:  # nobody can list what a download raises
        place = f"{torch.hub.get_dir()}/checkpoints"
        hint = f"put {found.url} into {place}, or give model.weights=FILE"
        allowed = f"cannot be downloaded ({first_line(error)})"
        raise ConfigError.of("weights", "DEFAULT", allowed, hint) from None
    meant = found.transforms()
    tell_what_they_expect(name, meant.mean, meant.std, 2 * meant.crop_size)
    return state
