"""What is known to go wrong with Hydra's launchers, said or set right before it does."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.util import find_spec
from shutil import which
from typing import Any

from hydra.types import TaskFunction
from omegaconf import DictConfig

from cl_runner.errors import ConfigError
from cl_runner.hidden import names_one

EXTRAS = {"joblib": "local", "submitit": "slurm", "ray": "ray"}


def check(launcher: DictConfig, overrides: Iterable[str]) -> None:
    """Raise ConfigError for a launcher that is not installed, or whose queue is not there; and for
    a secret among the overrides, if it is one that writes them down."""
    target = str(launcher.get("_target_"))
    secret = next(filter(names_one, overrides), None)
    if "submitit" in target and secret is not None:
        key = secret.partition("=")[0]
        allowed = f"submitit would write the value of {key} into the sweep's folder"
        raise ConfigError.of("hydra/launcher", "slurm", allowed, f"'{key}=${{oc.env:NAME}}'")
    for word, extra in EXTRAS.items():
        if f"hydra_{word}_launcher" in target and not _installed(f"hydra_{word}_launcher"):
            remedy = f"pip install 'cl-runner[{extra}]'"
            raise ConfigError.of("hydra/launcher", extra, "is not installed", remedy)
    if target.endswith("submitit_launcher.SlurmLauncher") and which("sbatch") is None:
        remedy = "run the command on the cluster's login node"
        raise ConfigError.of(
            "hydra/launcher", "slurm", "sbatch was not found on this machine", remedy
        )


def connect(launcher: DictConfig) -> None:
    """Raise ConfigError where no Ray cluster answers, or none that has what a job asks for."""
    if "ray" in launcher:
        from cl_runner.jobs import ray_cluster

        ray_cluster.connect(launcher.ray)


def disconnect(launcher: DictConfig) -> None:
    """Stop what Ray still runs of ours: jobs handed over go on when the launcher breaks."""
    if "ray" in launcher:
        from cl_runner.jobs import ray_cluster

        ray_cluster.disconnect()


def at_a_time(launcher: DictConfig) -> int | None:
    """How many jobs to hand over at once: submitit's local executor starts all that it gets."""
    local = str(launcher.get("_target_")).endswith("submitit_launcher.LocalLauncher")
    return os.cpu_count() if local else None


@dataclass(frozen=True)
class Here:
    """A job in the folder where the sweep was started, with its place of the data: a worker of a
    cluster has those of the shell that started the cluster."""

    job: TaskFunction
    folder: str = field(default_factory=os.getcwd)
    data: str | None = field(default_factory=lambda: os.environ.get("CL_DATA"))

    def __call__(self, config: DictConfig) -> Any:
        os.chdir(self.folder)
        if self.data is not None:
            os.environ["CL_DATA"] = self.data
        return self.job(config)


def _installed(module: str) -> bool:
    try:
        return find_spec(f"hydra_plugins.{module}") is not None
    except ModuleNotFoundError:
        return False
