"""What is known to go wrong with Hydra's launchers, said before it does."""

from __future__ import annotations

import os

from omegaconf import DictConfig

from cl_runner.errors import ConfigError

EXTRAS = {"joblib": "local", "submitit": "slurm"}


def check(launcher: DictConfig) -> None:
    """Raise ConfigError for a launcher that is not installed."""
    target = str(launcher.get("_target_"))
    for word, extra in EXTRAS.items():
        if f"hydra_{word}_launcher" in target and not _installed(f"hydra_{word}_launcher"):
            remedy = f"pip install 'cl-runner[{extra}]'"
            raise ConfigError.of("hydra/launcher", extra, "is not installed", remedy)


def at_a_time(launcher: DictConfig) -> int | None:
    """How many jobs to hand over at once: submitit's local executor starts all that it gets."""
    local = str(launcher.get("_target_")).endswith("submitit_launcher.LocalLauncher")
    return os.cpu_count() if local else None


def _installed(module: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(f"hydra_plugins.{module}") is not None
    except ModuleNotFoundError:
        return False
