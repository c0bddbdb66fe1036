"""The models of the package timm as bodies, with weights of their own or random."""

from __future__ import annotations

from typing import Any

from torch import nn

from cl_runner.config.setting_types import Size
from cl_runner.config.targets import target
from cl_runner.errors import ConfigError, first_line, nearest
from cl_runner.extras import install
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


@target
def timm_body(
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
    """A model of timm (`pip install timm`), without its classifier.

    - `weights`: null: random, as timm draws them, from the seed of the run; `DEFAULT`: the model's
      own, downloaded once from the Hugging Face hub; or a file with a state dict of the model in
      timm, of which the classifier is not used
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
    try:
        import timm
    except ModuleNotFoundError:
        allowed = "needs the package timm"
        raise ConfigError.of("body", name, allowed, install("timm")) from None
    if not timm.is_model(name.partition(".")[0]):
        hint = nearest(name, timm.list_models()) or "timm.list_models() has them all"
        raise ConfigError.of("body", name, "timm has no such model", hint)
    downloads = weights == "DEFAULT" and are_read(weights)
    try:
        layers: nn.Module = timm.create_model(name, pretrained=downloads, num_classes=0)
    except Exception as error:  # nobody can list what timm or a download raises
        if not downloads:
            raise ConfigError.of("body", name, f"cannot be built ({first_line(error)})") from None
        allowed = f"cannot be downloaded ({first_line(error)})"
        raise ConfigError.of("weights", weights, allowed, "model.weights=FILE") from None
    if downloads:
        about = timm.data.resolve_model_data_config(layers)
        tell_what_they_expect(name, about["mean"], about["std"], about["input_size"][1:])
    elif weights is not None and are_read(weights):
        state = weights_in(weights)
        unused = _classifiers(layers)
        load(layers, {k: v for k, v in state.items() if not k.startswith(unused)}, weights)
    return layers


def _classifiers(layers: Any) -> tuple[str, ...]:
    """How the names of the weights begin that the model has for its own classes."""
    named = layers.pretrained_cfg.get("classifier") or ()
    return tuple(f"{name}." for name in ([named] if isinstance(named, str) else named))
