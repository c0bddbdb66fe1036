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
    freeze,
    is_only_measured,
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
      own, downloaded once from the Hugging Face hub; or a file with a state dict
    - `resize`, `frozen`: see `bodies.py`
    """
    refuse_init(weights, init)
    layers = _built(body, weights)
    freeze(layers, frozen)
    whole = Body(layers, shape, resize)
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
    given: dict[str, Any] = {"pretrained": False}
    if weights is not None and not is_only_measured():
        given["pretrained"] = True
        if weights != "DEFAULT":  # timm's own way to read a file trusts it
            state = {"state_dict": weights_in(weights), "custom_load": False}
            given["pretrained_cfg_overlay"] = state
    try:
        layers: nn.Module = timm.create_model(name, num_classes=0, **given)
    except Exception as error:  # nobody can list what a download or a foreign file raises
        if weights is None:
            raise ConfigError.of("body", name, f"cannot be built ({first_line(error)})") from None
        words = [line.strip() for line in str(error).splitlines()]
        reason = " ".join(words[:2])[:200] or type(error).__name__
        what = "cannot be downloaded" if weights == "DEFAULT" else "does not fit"
        hint = "weights=FILE" if weights == "DEFAULT" else ""
        raise ConfigError.of("weights", weights, f"{what} ({reason})", hint) from None
    if weights == "DEFAULT" and given["pretrained"]:
        meant = timm.data.resolve_model_data_config(layers)
        size = meant["input_size"][1:]
        tell_what_they_expect(name, meant["mean"], meant["std"], size)
    return layers
