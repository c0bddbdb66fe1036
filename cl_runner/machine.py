"""The machine: its devices, threads and memory, and what is too much for them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from cl_runner.errors import ConfigError


def refuse_too_large(key: str, value: Any, size: float, device: str = "cpu") -> None:
    """Raise ConfigError if the setting would need more memory than the machine, or the GPU, has.

    size: in bytes.
    """
    total = memory(device)
    if size > total:
        owner = "this GPU" if device.startswith("cuda") else "this machine"
        allowed = f"would need {size / 1e9:,.0f} GB of memory, {owner} has {total / 1e9:,.0f}"
        raise ConfigError.of(key, value, allowed)


def memory(device: str = "cpu") -> int:
    """All memory, used or free, in bytes."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_properties(device).total_memory
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no limit
        return total


def free_memory(device: str = "cpu") -> int:
    """Bytes that can be had now without taking them from others."""
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
        return min(memory(), 1024 * free)
    except (OSError, StopIteration):  # not Linux
        return memory()


def choose_device(device: str) -> str:
    """The device to run on. Raises ConfigError if it is not available."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        allowed = "this device is not available on this machine"
        raise ConfigError.of("device", device, allowed, "device=cpu works everywhere") from None
    return device


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Compute with this many threads inside. None: as many as before."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before if count is None else count)
        yield
    finally:
        torch.set_num_threads(before)
