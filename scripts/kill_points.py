"""One attempt at a run in a forked process, which is killed at a crash point or after a time."""

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
from inspect import isfunction
from pathlib import Path
from typing import Any

import torch
from composing import composed
from kill_disk import Disk, around
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from cl_runner.evaluation.accuracy import Accuracy
from cl_runner.evaluation.probe import Probe
from cl_runner.run_folder import read as reading
from cl_runner.run_folder.checkpoint import Checkpoints, unpacked
from cl_runner.strategies import ewc
from cl_runner.strategies.parts import memory
from cl_runner.strategies.parts.memory import Memory
from cl_runner.strategies.strategy import Strategy
from cl_runner.training import results
from cl_runner.training.run import run
from cl_runner.training.settings import Settings

NAMES = ("experiment", "dataset", "model", "strategy", "optimizer", "scheduler", "tracker", "group")
Patch = Callable[[], None]
HOOKS = [name for name, value in vars(Strategy).items() if isfunction(value) and name[0] != "_"]
"""The contract between the loop and a strategy, whose state changes only in these."""
STATE: list[tuple[Any, str]] = [
    (Accuracy, "after_task"), (Accuracy, "within_task"), (Probe, "after_task"),
    (ewc, "fisher_diagonal"), (Memory, "learn"), (Memory, "insert"), (memory, "balanced_quotas"),
    (results, "compose"), (Checkpoints, "load"), (Checkpoints, "prune"),
]  # fmt: skip
"""What else changes the state of a run, or takes long enough to be interrupted."""


@dataclass(frozen=True)
class Case:
    """One run to be killed: its settings."""

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
    """How a forked process ended, and which crash points it passed."""

    code: int | None
    signal: int | None
    points: list[str] = field(default_factory=list)
    error: str = ""


def prepared(name: str, overrides: list[str]) -> Case:
    """Compose and check the settings once, for all attempts."""
    settings, config = composed(*overrides)
    case = Case(name, replace(settings, resume="auto"), config)
    data: Any = case.settings.dataset
    data.load = cache(data.load)
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(io.StringIO()):
        case.run(Path(folder))  # loads modules and data, which the forked attempts share
    return case


class Killer:
    """Counts crash points and kills this process at one of them, or at none. watch: called at each
    point."""

    def __init__(self, at: int | None = None, watch: Callable[[], None] | None = None) -> None:
        self.at, self.watch = at, watch
        self.points: list[str] = []

    def point(self, name: str) -> None:
        self.points.append(name)
        if self.watch is not None:
            self.watch()
        if len(self.points) == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def arm(self, folder: Path, strategy: Any) -> None:
        """Put crash points around everything that this run does to its files and its state.

        folder: of the run. strategy: its class. Weights change only in optimizer steps, and files
        only in system calls, so the code that makes them need not be known by name.
        """
        register_optimizer_step_pre_hook(lambda *_: self.point("before optimizer step"))
        register_optimizer_step_post_hook(lambda *_: self.point("after optimizer step"))
        hooks = [(next(c for c in strategy.__mro__ if hook in vars(c)), hook) for hook in HOOKS]
        for owner, name in [*hooks, *STATE]:  # where it is defined: an inherited one stays so
            setattr(owner, name, around(getattr(owner, name), name, self.point))
        Disk(folder, self.point).watch()


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
        outcome = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return Attempt(None, os.WTERMSIG(status))
    return Attempt(os.WEXITSTATUS(status), None, **json.loads(outcome))


def _run_and_exit(
    case: Case, folder: Path, killer: Killer, writer: int, patch: Patch | None
) -> None:
    outcome: dict[str, Any] = {}
    torch.seed()  # as in a process of its own; forked ones would share what is drawn without a seed
    try:
        steps = os.open(folder.with_suffix(".steps"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)

        def count_step(*_: Any) -> None:
            os.write(steps, b".")

        register_optimizer_step_post_hook(count_step)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        if patch is not None:
            patch()
        killer.arm(folder, case.settings.strategy.target)
        case.run(folder)
        outcome = {"points": killer.points}
    except BaseException as error:
        outcome = {"error": f"{type(error).__name__}: {error}"}
    os.write(writer, json.dumps(outcome).encode())
    os._exit("error" in outcome)


def fingerprint(folder: Path) -> dict[str, str]:
    """A digest of everything that must be the same in the end."""
    (checkpoint,) = (folder / "checkpoint").iterdir()
    _, archive = unpacked(checkpoint)
    state = torch.load(io.BytesIO(archive), weights_only=True)
    summary = reading.results(folder).document()
    for cost in (state["cost"], summary["cost"]):
        del cost["seconds"], cost["peak_memory_bytes"]
    parts: dict[str, Any] = {
        **{f"strategy.{key}": value for key, value in state.pop("strategy").items()},
        **state,
        "metrics.jsonl": (folder / "metrics.jsonl").read_bytes(),
        **{file.name: file.read_bytes() for file in folder.glob("*.npz")},
        "results.json": summary,
        "status": reading.status(folder).status,
        "files": sorted(p.name for p in folder.rglob("*")),
    }
    return {name: hashlib.sha256(_bytes(part)).hexdigest() for name, part in parts.items()}


def differences(whole: dict[str, str], folder: Path) -> str:
    """Names of what differs between this run folder and the whole run; empty if nothing does."""
    here = fingerprint(folder)
    return ", ".join(name for name in whole | here if here.get(name) != whole.get(name))


def _bytes(thing: Any) -> bytes:
    """All bits of tensors and plain values, at any depth."""
    if isinstance(thing, torch.Tensor):
        return f"{thing.dtype}{list(thing.shape)}".encode() + thing.contiguous().numpy().tobytes()
    if isinstance(thing, dict):
        return b"".join(_bytes(key) + _bytes(value) for key, value in thing.items())
    if isinstance(thing, list | tuple):
        return b"".join(map(_bytes, thing))
    return thing if isinstance(thing, bytes) else repr(thing).encode()
