"""How much memory a run needs, without allocating it: what cannot fit is refused at once."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn

from cl_runner.config.factory import Factory
from cl_runner.data.stream import Outline, Stream
from cl_runner.errors import ConfigError
from cl_runner.machine import refuse_too_large
from cl_runner.run_folder.read import ARRAYS, MB
from cl_runner.training import frozen_features
from cl_runner.training.settings import Settings

TRAINED = 4
"""A weight, its gradient, and up to two numbers that the optimizer stores for it."""


def check_parts(settings: Settings, outline: Outline, device: str) -> None:
    """Raise ConfigError if the network, the strategy or a step with its stored samples cannot fit.

    They are built on torch's meta device, which has shapes but no memory. Parts that cannot be
    built there are not checked.
    """
    try:
        with torch.device("meta"):
            network = settings.model(outline.shape, outline.classes)
            frozen_features.fit(network, outline, settings.ce_scope, settings.one_output_layer)
            strategy = settings.strategy(network)
            replayed = getattr(strategy, "replay_batch_size", 0)
            step = _of_a_pass(network, torch.empty(replayed, *network.shape)) if replayed else 0
    except Exception:
        return
    learning = TRAINED * _bytes(p for p in network.parameters() if p.requires_grad)
    _refuse(settings.model, learning, device)
    others = _bytes([*strategy.parameters(), *strategy.buffers()]) - learning / TRAINED
    _refuse(settings.strategy, learning + others + step, device)


def check_logits(stream: Stream) -> None:
    """Raise ConfigError if the scores of all evaluations are more than can be read from a file."""
    tested = accumulate(len(samples) for samples in stream.test)
    size = sum(n * task.seen * 4 for n, task in zip(tested, stream.tasks, strict=True))
    if size > ARRAYS:
        allowed = f"would be {size / MB:,.0f} MB of scores, at most {ARRAYS // MB} MB can be read"
        raise ConfigError.of("keep", "logits", allowed, "keep=predictions")


def _refuse(part: Factory[Any], size: float, device: str) -> None:
    sizes = {k: v for k, v in part.settings.items() if _whole(v)}
    named = ", ".join(f"{key}={value}" for key, value in sizes.items())
    refuse_too_large(part.key, f"{part.target.__name__}({named})", size, device)


def _whole(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return all(isinstance(v, int) and not isinstance(v, bool) for v in values)


def _of_a_pass(network: nn.Module, x: Tensor) -> float:
    """Bytes of a batch and of the output of each layer, which is stored for the gradient."""
    sizes = [_bytes([x])]
    for module in network.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda _m, _x, made: sizes.append(_bytes([made])))
    network(x)
    return sum(sizes)


def _bytes(tensors: Iterable[Tensor]) -> float:
    return float(sum(tensor.numel() * tensor.element_size() for tensor in tensors))
