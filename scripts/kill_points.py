"""Crash points: one attempt at a run in a forked process, killed at a given point or time."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from cl_runner.config.paths import CONF
from cl_runner.evaluation.accuracy import Accuracy
from cl_runner.run_folder import files as storage
from cl_runner.run_folder import read as reading
from cl_runner.run_folder.checkpoint import Checkpoints, unpacked
from cl_runner.strategies import ewc
from cl_runner.strategies.parts import memory
from cl_runner.strategies.parts.memory import Memory
from cl_runner.tracking import local
from cl_runner.training import results
from cl_runner.training.loop import Training
from cl_runner.training.run import run
from cl_runner.training.settings import Settings, read

NAMES = ("experiment", "dataset", "model", "strategy", "optimizer", "tracker", "group")
Patch = Callable[[], None]
AROUND: list[tuple[Any, str]] = [
    (Training, "_step"), (Training, "_after_step"), (Accuracy, "after_task"),
    (Accuracy, "within_task"), (Memory, "learn"), (Memory, "_put"), (ewc, "fisher_diagonal"),
    (results, "compose"), (memory, "balanced_quotas"), (Path, "unlink"),
]  # fmt: skip
"""What changes the state: killed before and after."""
BEFORE: list[tuple[Any, str]] = [
    (Checkpoints, "load"),
    (Checkpoints, "prune"),
    (Training, "_begin"),
    (Training, "_log_means"),
]
"""What does so by calls that are crash points themselves, or is followed by one at once."""


@dataclass(frozen=True)
class Case:
    """One run to be killed: what it is told to do."""

    name: str
    settings: Settings
    config: dict[str, Any]

    def run(self, folder: Path) -> None:
        run(self.settings, folder, config=self.config, names=dict.fromkeys(NAMES, self.name))

    def steps(self, folder: Path) -> int:
        """Steps of a complete run."""
        return reading.results(folder).cost.steps


@dataclass(frozen=True)
class Attempt:
    """How a forked process ended, and the crash points that it passed."""

    code: int | None
    signal: int | None
    points: list[str] = field(default_factory=list)
    error: str = ""


def prepared(name: str, overrides: list[str]) -> Case:
    """Compose and check the settings once; the attempts share them."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config: Any = OmegaConf.to_container(
            compose("config", [*overrides, "name=unused"]), resolve=True
        )
    case = Case(name, replace(read(config), resume="auto"), config)
    data: Any = case.settings.dataset
    data.load = cache(data.load)
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(io.StringIO()):
        case.run(Path(folder))  # so that the attempts have imports and data behind them
    return case


class Killer:
    """Counts crash points and kills this process at one of them (None: at none); watch: called
    at each."""

    def __init__(self, at: int | None = None, watch: Callable[[], None] | None = None) -> None:
        self.at, self.watch = at, watch
        self.points: list[str] = []

    def point(self, name: str) -> None:
        self.points.append(name)
        if self.watch is not None:
            self.watch()
        if len(self.points) == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def arm(self) -> None:
        """Put crash points around all that a run does to its files and its state."""
        disk = SimpleNamespace(**vars(os))
        for call in ("open", "fsync"):
            setattr(disk, call, self.before(getattr(os, call), call))
        for call in ("replace", "ftruncate"):
            setattr(disk, call, self.around(getattr(os, call), call))
        disk.write = self.write
        for module in (storage, local):
            module.os = disk  # type: ignore[attr-defined]
        for owner, name in BEFORE:
            setattr(owner, name, self.before(getattr(owner, name), name.strip("_")))
        for owner, name in AROUND:
            setattr(owner, name, self.around(getattr(owner, name), name.strip("_")))

    def before(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        def watched(*given: Any, **named: Any) -> Any:
            self.point(f"before {name}")
            return call(*given, **named)

        return watched

    def around(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        def watched(*given: Any, **named: Any) -> Any:
            self.point(f"before {name}")
            result = call(*given, **named)
            self.point(f"after {name}")
            return result

        return watched

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        self.point("before write")
        half = os.write(descriptor, data[: len(data) // 2])
        self.point("half-way through write")
        rest = os.write(descriptor, data[half:])
        self.point("after write")
        return half + rest


def attempt(
    case: Case,
    folder: Path,
    killer: Killer,
    *,
    kill_after: float | None = None,
    patch: Patch | None = None,
) -> Attempt:
    """Start or continue the run in a forked process, and wait for its end."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _run_and_exit(case, folder, killer, writer, patch)
    os.close(writer)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reader) as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return Attempt(None, os.WTERMSIG(status))
    return Attempt(os.WEXITSTATUS(status), None, **json.loads(told))


def _run_and_exit(
    case: Case, folder: Path, killer: Killer, writer: int, patch: Patch | None
) -> None:
    told: dict[str, Any] = {}
    try:
        steps = os.open(folder.with_suffix(".steps"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        after_step = Training._after_step

        def counted(*given: Any) -> None:
            os.write(steps, b".")
            after_step(*given)

        Training._after_step = counted  # type: ignore[method-assign, assignment]
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        if patch is not None:
            patch()
        killer.arm()
        case.run(folder)
        told = {"points": killer.points}
    except BaseException as error:
        told = {"error": f"{type(error).__name__}: {error}"}
    os.write(writer, json.dumps(told).encode())
    os._exit("error" in told)


def fingerprint(folder: Path) -> dict[str, str]:
    """A digest of each thing that must come out the same."""
    (checkpoint,) = (folder / "checkpoint").iterdir()
    _, archive = unpacked(checkpoint)
    state = torch.load(io.BytesIO(archive), weights_only=True)
    summary = reading.results(folder).document()
    for timed in (state["cost"], summary["cost"]):
        del timed["seconds"], timed["peak_memory_bytes"]
    things: dict[str, Any] = {
        **{f"strategy.{key}": value for key, value in state.pop("strategy").items()},
        **state,
        "metrics.jsonl": (folder / "metrics.jsonl").read_bytes(),
        "predictions.npz": (folder / "predictions.npz").read_bytes(),
        "results.json": summary,
        "status": reading.status(folder).status,
        "files": sorted(p.name for p in folder.rglob("*")),
    }
    return {name: hashlib.sha256(_bytes(thing)).hexdigest() for name, thing in things.items()}


def differences(whole: dict[str, str], folder: Path) -> str:
    """The things in this run folder that are not as in the whole run, named; empty if none."""
    found = fingerprint(folder)
    return ", ".join(name for name in whole | found if found.get(name) != whole.get(name))


def _bytes(thing: Any) -> bytes:
    """All bits of tensors and plain values, however nested."""
    if isinstance(thing, torch.Tensor):
        return f"{thing.dtype}{list(thing.shape)}".encode() + thing.contiguous().numpy().tobytes()
    if isinstance(thing, dict):
        return b"".join(_bytes(key) + _bytes(value) for key, value in thing.items())
    if isinstance(thing, list | tuple):
        return b"".join(map(_bytes, thing))
    return thing if isinstance(thing, bytes) else repr(thing).encode()
