"""What a run needs of memory, found without allocating it: what cannot be is refused at once."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from cl_runner.errors import ConfigError
from cl_runner.parts import Part

if TYPE_CHECKING:
    from cl_runner.settings import Settings
    from cl_runner.stream import Outline

TRAINED = 4
"""A weight, its gradient, and up to two numbers that the optimizer keeps of it."""


def refuse_too_large(key: str, value: Any, size: float, device: str = "cpu") -> None:
    """Raise ConfigError if so many bytes are more than the machine, or the GPU, has."""
    there = memory(device)
    if size > there:
        of = "this GPU" if device.startswith("cuda") else "this machine"
        allowed = f"would need {size / 1e9:,.0f} GB of memory, {of} has {there / 1e9:,.0f}"
        raise ConfigError.of(key, value, allowed)


def memory(device: str = "cpu") -> int:
    """Bytes there are, in use or not."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_properties(device).total_memory
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no limit
        return total


def check_parts(settings: Settings, outline: Outline, device: str) -> None:
    """Raise ConfigError if the network, the strategy or a step with its stored samples cannot fit.

    They are made on torch's meta device, which has shapes and no memory. What cannot be made there
    is made as it is."""
    try:
        with torch.device("meta"):
            network = settings.model(outline.shape, outline.classes)
            strategy = settings.strategy(network)
            replayed = getattr(strategy, "replay_batch_size", 0)
            step = _of_a_pass(network, torch.empty(replayed, *outline.shape)) if replayed else 0
    except Exception:
        return
    learning = TRAINED * _bytes(p for p in network.parameters() if p.requires_grad)
    _refuse(settings.model, learning, device)
    others = _bytes([*strategy.parameters(), *strategy.buffers()]) - learning / TRAINED
    _refuse(settings.strategy, learning + others + step, device)


def _refuse(part: Part[Any], size: float, device: str) -> None:
    sizes = {k: v for k, v in part.settings.items() if _whole(v)}
    named = ", ".join(f"{key}={value}" for key, value in sizes.items())
    refuse_too_large(part.key, f"{part.target.__name__}({named})", size, device)


def _whole(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return all(isinstance(v, int) and not isinstance(v, bool) for v in values)


def _of_a_pass(network: nn.Module, x: Tensor) -> float:
    """Bytes of a batch and of what each layer makes of it, which is kept for the gradient."""
    sizes = [_bytes([x])]
    for module in network.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda _m, _x, made: sizes.append(_bytes([made])))
    network(x)
    return sum(sizes)


def _bytes(tensors: Iterable[Tensor]) -> float:
    return float(sum(tensor.numel() * tensor.element_size() for tensor in tensors))
