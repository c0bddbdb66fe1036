"""Known problems of Hydra's launchers, reported or prevented before they occur."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

from hydra.types import TaskFunction
from omegaconf import DictConfig, OmegaConf

from cl_runner import extras, terminal
from cl_runner.config.traits import flat
from cl_runner.errors import ConfigError, RunError
from cl_runner.hidden import is_secret, names_one, word_for
from cl_runner.jobs import ray_cluster
from cl_runner.jobs.stopping import ending_with
from cl_runner.run_folder import read
from cl_runner.run_folder.plain import Damaged

HANDED_ON = ("CL_DATA", "XDG_CONFIG_HOME")
"""Variables that a job needs as its command has them."""
EXTRAS = {"joblib": "local", "submitit": "slurm", "ray": "ray"}


def check(launcher: DictConfig, overrides: Iterable[str]) -> None:
    """Raise ConfigError for a launcher that is not installed or has no queue on this machine, and
    for a secret in the overrides of a launcher that writes them to files."""
    target = str(launcher.get("_target_"))
    secret = next(filter(names_one, overrides), None)
    if "submitit" in target and secret is not None:
        key = secret.partition("=")[0]
        allowed = f"submitit would write the value of {key} into the sweep's folder"
        raise ConfigError.of("hydra/launcher", "slurm", allowed, f"'{key}=${{oc.env:NAME}}'")
    if "ray" in launcher:
        _refuse_secrets_in(launcher)
    for word, extra in EXTRAS.items():
        if f"hydra_{word}_launcher" in target and not _installed(f"hydra_{word}_launcher"):
            remedy = extras.install(extra)
            raise ConfigError.of("hydra/launcher", extra, "is not installed", remedy)
    if target.endswith("submitit_launcher.SlurmLauncher") and which("sbatch") is None:
        allowed = "sbatch was not found on this machine"
        remedy = "run the command on the cluster's login node"
        raise ConfigError.of("hydra/launcher", "slurm", allowed, remedy)


def _refuse_secrets_in(launcher: DictConfig) -> None:
    """Raise ConfigError for a secret among Ray's settings, also for one from the environment: Ray
    writes them to its logs."""
    for key, value in flat(OmegaConf.to_container(launcher, resolve=False)):
        if is_secret(key) and isinstance(value, str) and value:
            allowed = "would stand in Ray's logs"
            remedy = f"set {key.rpartition('.')[2]} where the cluster is started: for `ray start`"
            raise ConfigError.of(f"hydra.launcher.{key}", word_for(value), allowed, remedy)


def connect(launcher: DictConfig) -> None:
    """Raise ConfigError if no Ray cluster answers, or it lacks what a job asks for."""
    if "ray" in launcher:
        ray_cluster.connect(launcher.ray)


def disconnect(launcher: DictConfig) -> None:
    """Stop our jobs on Ray: they continue when the launcher breaks."""
    if "ray" in launcher:
        ray_cluster.disconnect()


def at_a_time(launcher: DictConfig) -> int | None:
    """How many jobs to submit at once: submitit's local executor starts all of them together."""
    local = str(launcher.get("_target_")).endswith("submitit_launcher.LocalLauncher")
    return os.cpu_count() if local else None


def outlived(launcher: DictConfig) -> bool:
    """Whether jobs go on when the command ends: Slurm's are in its queue."""
    return str(launcher.get("_target_")).endswith("submitit_launcher.SlurmLauncher")


def places(launcher: DictConfig) -> int:
    """How many jobs run side by side; under Ray, once it is connected."""
    target = str(launcher.get("_target_"))
    if "joblib" in target:
        import joblib

        return int(joblib.effective_n_jobs(launcher.n_jobs))
    if "ray" in launcher:
        return ray_cluster.places(launcher.ray.remote)
    return at_a_time(launcher) or max(1, int(launcher.get("array_parallelism") or 1))


@dataclass(frozen=True)
class Here:
    """Runs a job in the folder where the sweep was started, with its data and its trusted plugins:
    a cluster's worker has the folder and variables of the shell that started the cluster.

    The job prints nothing: the command has a line for each, and the rest is in the job's folder. If
    the command dies, its own processes save and end: nobody would wait for them. in_pool: whether
    its process takes other jobs later."""

    job: TaskFunction
    in_pool: bool = False
    command: int = field(default_factory=os.getpid)
    folder: str = field(default_factory=os.getcwd)
    variables: dict[str, str] = field(
        default_factory=lambda: {n: os.environ[n] for n in HANDED_ON if n in os.environ}
    )

    def __call__(self, config: DictConfig) -> Any:
        if self.in_pool and os.getpid() != self.command:
            # Ctrl-C in a terminal reaches it, too, and would break the pool between two jobs.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.chdir(self.folder)
        os.environ.update(self.variables)
        try:
            with terminal.silent(), ending_with(self.command):
                return self.job(config)
        except RunError as error:
            if not _tells(Path(config.output_root) / config.name, error):
                print(error, file=sys.stderr)
            raise


def _tells(folder: Path, error: RunError) -> bool:
    """Whether the job's folder says how it failed: not if another process works in it."""
    try:
        return read.status(folder).error == str(error)
    except Damaged:
        return False


def _installed(module: str) -> bool:
    try:
        return find_spec(f"hydra_plugins.{module}") is not None
    except ModuleNotFoundError:
        return False
