"""Connect to a Ray cluster, or say in one line what is wrong with it.

Ray itself waits two minutes for an address where nobody answers, and forever for a GPU that no node
has.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from cl_runner.errors import ConfigError, first_line

KEY = "hydra.launcher.ray"
OF_A_NEW_CLUSTER = ("num_cpus", "num_gpus", "resources", "labels", "object_store_memory")
SECONDS = 10.0


def connect(settings: DictConfig) -> None:
    """Start or find the cluster. settings: `init` and `remote`, the arguments of ray.init and
    ray.remote. Raises ConfigError if it does not answer, or if no node has what a job asks for."""
    plain: Any = OmegaConf.to_container(settings, resolve=True)
    init, remote = plain["init"], plain["remote"]
    init["address"] = str(init.get("address") or "local")
    _reachable(init)
    import ray

    if not ray.is_initialized():
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            ray.init(**init)
        except Exception as error:
            allowed = f"Ray says: {first_line(error).removesuffix('.')}"
            remedy = "if the cluster was started with a token, set RAY_AUTH_MODE=token here too"
            raise ConfigError.of(f"{KEY}.init.address", init["address"], allowed, remedy) from None
    try:
        nodes: list[dict[str, Any]] = ray.nodes()
        _has(remote, [node["Resources"] for node in nodes if node["Alive"]])
    except ConfigError:
        ray.shutdown()
        raise


def places(remote: Mapping[str, Any]) -> int:
    """How many jobs the nodes of the cluster have room for at a time."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    asked = {name: amount for name, amount in _asked(remote).values() if amount}
    on_each = [min((n.get(name, 0.0) // a for name, a in asked.items()), default=1) for n in nodes]
    return max(1, int(sum(on_each)))


def disconnect() -> None:
    """Disconnect. Our jobs that still run there are killed; a local cluster is stopped."""
    import ray

    ray.shutdown()


def _reachable(init: Mapping[str, Any]) -> None:
    """Raise ConfigError for an address that is not valid or where nobody listens."""
    address = init["address"]
    if address == "local":
        return
    for name in OF_A_NEW_CLUSTER:
        if init.get(name) is not None:
            allowed = f"must be null when the cluster is already running (address={address})"
            raise ConfigError.of(f"{KEY}.init.{name}", init[name], allowed)
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():  # jobs do not work over ray://
        remedy = "run the command on a node of the cluster"
        allowed = "must be local, auto or HOST:PORT"
        raise ConfigError.of(f"{KEY}.init.address", address, allowed, remedy)
    try:
        socket.create_connection((host, int(port)), timeout=SECONDS).close()
    except (OSError, OverflowError) as error:
        remedy = "start one on a node with: ray start --head"
        allowed = f"no cluster answers there: {getattr(error, 'strerror', None) or error}"
        raise ConfigError.of(f"{KEY}.init.address", address, allowed, remedy) from None


def _has(remote: Mapping[str, Any], nodes: list[dict[str, float]]) -> None:
    """Raise ConfigError unless one node has all that a job asks for."""
    for key, (name, amount) in _asked(remote).items():
        if not (amount is None or (isinstance(amount, int | float) and amount >= 0)):
            raise ConfigError.of(f"{KEY}.remote.{key}", amount, "must be a number ≥ 0")
        most = max((node.get(name, 0.0) for node in nodes), default=0.0)
        if (amount or 0) > most:
            allowed = f"no node has more than {most:g} {name}; Ray would wait forever"
            raise ConfigError.of(f"{KEY}.remote.{key}", amount, allowed)
        nodes = [node for node in nodes if node.get(name, 0.0) >= (amount or 0)]


def _asked(remote: Mapping[str, Any]) -> dict[str, tuple[str, float | None]]:
    """What a job asks for: of each setting, Ray's name of the resource, and how much of it."""
    asked = {
        "num_cpus": ("CPU", remote.get("num_cpus")),
        "num_gpus": ("GPU", remote.get("num_gpus")),
    }
    for name, amount in (remote.get("resources") or {}).items():
        asked[f"resources.{name}"] = (name, amount)
    return asked
