"""Any module as the body of a network: fitted to the pictures, frozen, its features counted."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cl_runner.config.setting_types import NonEmpty
from cl_runner.errors import ConfigError, first_line, nearest
from cl_runner.models.network import evaluation_mode
from cl_runner.randomness import seeded

log = logging.getLogger("cl_runner")
Frozen = bool | NonEmpty[str]
"""`true`: the whole body; a list: the parts of these names and all below them; `false`: nothing."""
_UNREAD = ContextVar("_UNREAD", default=False)


class Body(nn.Module):
    """Pictures [B, C, H, W] → features [B, features] by any layers; feature maps are flattened.

    Grey pictures are repeated for layers that want three colours. resize: the side length to which
    pictures are scaled first, bilinear and with antialiasing; None: they stay as they are. name:
    of the layers, as the user gave it.
    """

    def __init__(
        self, layers: nn.Module, shape: tuple[int, int, int], resize: int | None, name: str
    ) -> None:
        super().__init__()
        first = next((m for m in layers.modules() if isinstance(m, nn.Conv2d)), None)
        self.repeats = shape[0] == 1 and first is not None and first.in_channels == 3
        self.resize = resize
        self.layers = layers
        self.width = self._probed(shape, name)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.layers(self._fitted(x))
        return features.flatten(1)

    def extra_repr(self) -> str:
        return f"resize={self.resize}, repeats={self.repeats}"

    def _fitted(self, x: Tensor) -> Tensor:
        if self.repeats:
            x = x.expand(-1, 3, -1, -1)
        if self.resize is None:
            return x
        return F.interpolate(x, (self.resize, self.resize), mode="bilinear", antialias=True)

    def _probed(self, shape: tuple[int, int, int], name: str) -> int:
        """The number of features. Raises ConfigError if there are none for such pictures. Whatever
        the layers draw, other draws stay the same."""
        try:
            with torch.no_grad(), seeded("probe"), evaluation_mode(self.layers):
                found: Any = self.layers(self._fitted(torch.zeros(2, *shape)))
        except Exception as error:  # nobody can list what a module raises
            allowed = f"cannot take pictures of {list(shape)} ({first_line(error)})"
            hint = "model.resize=224" if self.resize is None else "another model.resize"
            raise ConfigError.of("body", name, allowed, hint) from None
        is_tensor = isinstance(found, Tensor)
        if not is_tensor or found.dim() < 2 or len(found) != 2 or found.numel() == 0:
            given = f"a tensor {list(found.shape)}" if is_tensor else f"a {type(found).__name__}"
            allowed = f"gives {given} for two pictures, must give a row of features for each"
            raise ConfigError.of("body", name, allowed)
        return int(found[0].numel())


def freeze(layers: nn.Module, frozen: bool | list[str]) -> None:
    """Take the gradient from these parts. Raises ConfigError for a name that no part has."""
    if isinstance(frozen, bool):
        layers.requires_grad_(not frozen)
        return
    parts = {name: module for name, module in layers.named_modules() if name}
    for name in frozen:
        if name not in parts:
            hint = (
                nearest(name, list(parts))
                or f"its parts: {', '.join(dict(layers.named_children()))}"
            )
            allowed = f"the body has no part {name}"
            raise ConfigError.of("frozen", frozen, allowed, hint)
        parts[name].requires_grad_(False)


def refuse_init(weights: str | None, init: str) -> None:
    """Raise ConfigError if weights that are given would be drawn again."""
    if weights is not None and init != "default":
        allowed = f"would draw the weights again that weights={weights} gives"
        raise ConfigError.of("init", init, allowed, "model.init=default")


@contextmanager
def weights_stay_unread() -> Iterator[None]:
    """Inside, bodies are built without the weights that their settings name: a checkpoint has them
    all, and the settings of someone else name no file to read."""
    token = _UNREAD.set(True)
    try:
        yield
    finally:
        _UNREAD.reset(token)


def are_read(weights: str | None) -> bool:
    """Whether a body gets these weights now; not if it only shows how large it is (torch's meta
    device)."""
    return weights is not None and not _UNREAD.get() and not torch.empty(0).is_meta


def weights_in(path: str) -> dict[str, Tensor]:
    """The state dict in a file of torch.save or safetensors; nothing in it is run. Raises
    ConfigError."""
    file = Path(path)
    if not file.is_file():
        hint = "a file, null, or for models of torchvision and timm DEFAULT"
        raise ConfigError.of("weights", path, "there is no such file", hint)
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(file))
        found = torch.load(file, "cpu", weights_only=True)
    except ModuleNotFoundError:
        allowed, hint = "needs the package safetensors", "pip install safetensors"
        raise ConfigError.of("weights", path, allowed, hint) from None
    except pickle.UnpicklingError:
        allowed = "is damaged, or holds Python objects, which are not loaded: they could run code"
        hint = "torch.save(model.state_dict(), FILE)"
        raise ConfigError.of("weights", path, allowed, hint) from None
    except Exception as error:  # nobody can list what torch raises for a file that is not whole
        allowed = f"cannot be read as a file of torch.save or safetensors ({first_line(error)})"
        raise ConfigError.of("weights", path, allowed) from None
    state = found.get("state_dict", found) if isinstance(found, Mapping) else found
    pairs = state.items() if isinstance(state, Mapping) else [(None, None)]
    if not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in pairs):
        allowed, hint = "holds no state dict", "torch.save(model.state_dict(), FILE)"
        raise ConfigError.of("weights", path, allowed, hint)
    return dict(pairs)


def load(layers: nn.Module, state: Mapping[str, Any], weights: str) -> None:
    """Give the layers these weights, all of them. Raises ConfigError if they do not fit."""
    try:
        layers.load_state_dict(state)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        reason = " ".join(lines[1:2])[:200] or first_line(error)
        allowed = f"does not fit a {type(layers).__name__}: {reason}"
        raise ConfigError.of("weights", weights, allowed) from None


def tell_what_they_expect(
    name: str, mean: Sequence[float], std: Sequence[float], sides: Sequence[int]
) -> None:
    """Log for which pictures the downloaded weights of this model were made."""
    pixels = f"pixels.mean={list(mean)} pixels.std={list(std)}"
    log.info("the weights of %s expect %s and %d × %d pixels", name, pixels, *sides)
