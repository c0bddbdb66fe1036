"""What to record about the machine that a run is on."""

from __future__ import annotations

import logging
import platform
import subprocess
from functools import cache, reduce
from importlib.metadata import version
from typing import Any

import torch

from cl_runner.config.paths import HERE

log = logging.getLogger("cl_runner")


def describe(device: str) -> dict[str, Any]:
    """Versions, device, threads and commit. Others may give other last bits."""
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.machine()
    return {
        "versions": dict(_versions()),
        "device": f"{device} ({name})",
        "threads": torch.get_num_threads(),
        "git": _commit(),
    }


def warn_if_other(before: dict[str, Any], now: dict[str, Any]) -> None:
    """Warn if a run continues where its results may differ in their last bits."""
    compared = {"torch": ("versions", "torch"), "device": ("device",), "threads": ("threads",)}
    for name, path in compared.items():
        old, new = (reduce(dict.__getitem__, path, side) for side in (before, now))
        if old != new:
            log.warning(
                "resumed with %s %s instead of %s: the last bits of the results may differ",
                name,
                new,
                old,
            )


@cache
def _versions() -> dict[str, str]:
    packages = ["cl-runner", "torch", "torchvision", "numpy", "hydra-core", "omegaconf"]
    return {"python": platform.python_version()} | {p: version(p) for p in packages}


@cache
def _commit() -> str | None:
    """The commit of this package's checkout; None in a wheel or without git."""
    root = HERE.parent
    if not (root / ".git").exists():
        return None
    try:
        return subprocess.check_output(
            ["git", "rev-parse", "HEAD"], cwd=root, stderr=subprocess.DEVNULL, text=True
        ).strip()
    except (OSError, subprocess.CalledProcessError):
        return None
