"""The machine a run is on: which device to take, and what to write down about it."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from cl_runner.errors import ConfigError


def choose_device(device: str) -> str:
    """The device to run on. Raises ConfigError for one that is not there."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        allowed = "this device is not to be had here"
        raise ConfigError.of("device", device, allowed, "device=cpu works everywhere") from None
    return device


def describe(device: str) -> dict[str, Any]:
    """Versions, device, threads and commit: other ones give other last bits."""
    packages = ["cl-runner", "torch", "torchvision", "numpy", "hydra-core", "omegaconf"]
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.machine()
    return {
        "versions": {"python": platform.python_version()} | {p: version(p) for p in packages},
        "device": f"{device} ({name})",
        "threads": torch.get_num_threads(),
        "git": _commit(),
    }


def _commit() -> str | None:
    """The commit of the checkout this package is in; None in a wheel or without git."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        told = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return told.stdout.strip()
