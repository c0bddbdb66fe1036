"""The cost of a run: seconds, steps, samples through the network, memory, stored state."""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

import torch
from torch import Tensor

from cl_runner.models.network import Network
from cl_runner.strategies.strategy import Strategy


class Cost:
    """Counts samples each time they pass the network or a teacher, or what a strategy uses of it,
    except for the per-sample gradients of a Fisher estimate."""

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy
        self.start = time.monotonic()
        self.seconds_before = 0.0
        self.peak_before = 0
        self.steps = 0
        self.samples_forward = 0
        self.samples_backward = 0

        def count(network: Network, samples: int) -> None:
            self.samples_forward += samples
            if torch.is_grad_enabled() and network.training:
                self.samples_backward += samples

        for module in strategy.modules():
            if isinstance(module, Network):
                module.on_pass = count

    def start_clock(self) -> None:
        """Count seconds from here: trackers have begun, the first task is next."""
        self.start = time.monotonic()

    def summary(self) -> dict[str, Any]:
        """The costs for `results.json`; seconds and peak are over all attempts at the run."""
        costs = self.state_dict() | {"state_bytes": state_bytes(self.strategy)}
        return costs | {"seconds": round(costs["seconds"], 3)}

    def state_dict(self) -> dict[str, Any]:
        return {
            "seconds": self.seconds_before + time.monotonic() - self.start,
            "steps": self.steps,
            "samples_forward": self.samples_forward,
            "samples_backward": self.samples_backward,
            "peak_memory_bytes": max(self.peak_before, _peak_memory_bytes()),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue counting from this state."""
        self.seconds_before, self.peak_before = state["seconds"], state["peak_memory_bytes"]
        self.steps = state["steps"]
        self.samples_forward = state["samples_forward"]
        self.samples_backward = state["samples_backward"]


def state_bytes(strategy: Strategy) -> dict[str, int]:
    """Bytes that each part of a strategy stores between tasks, without the network itself."""
    sizes: dict[str, int] = {}
    for key, value in strategy.state_dict().items():
        part = key.split(".")[0]
        if part != "network" and isinstance(value, Tensor):
            sizes[part] = sizes.get(part, 0) + value.numel() * value.element_size()
    return sizes


def _peak_memory_bytes() -> int:
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB
