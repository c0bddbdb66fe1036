"""What the tests share: a tiny stream, a tiny network, and the command line as a function."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from cl_runner.config.paths import CONF
from cl_runner.data.assemble import Cut, assemble
from cl_runner.data.batches import Batch, batches
from cl_runner.data.samples import Pixels
from cl_runner.data.stream import Outline, Stream
from cl_runner.models.mlp import mlp
from cl_runner.models.network import Network
from cl_runner.train import main
from cl_runner.training.run import run
from cl_runner.training.settings import Settings, read

torch.set_num_threads(1)
SHAPE = (1, 4, 4)
DATA = os.environ.get("CL_DATA", "")
real_data = pytest.mark.skipif(not Path(DATA, "MNIST").is_dir(), reason="CL_DATA is not set")


pytest_plugins = ["skipped"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that in the end no worker waits for another that has just begun one."""
    items.sort(key=lambda item: "test_kill_campaign" not in item.nodeid)


def tiny_stream(
    scenario: str = "class_incremental",
    scope: str = "seen",
    *,
    tasks: int = 3,
    samples: int = 40,
    seed: int = 0,
    crop_padding: int = 0,
    flip: bool = False,
) -> Stream:
    """Three tasks of two classes; each class is its own blurred pattern of 4 × 4 pixels."""
    domain = scenario == "domain_incremental"
    labels = [[0, 1]] * tasks if domain else [[2 * t, 2 * t + 1] for t in range(tasks)]
    outline = Outline(scenario, [f"t{t}" for t in range(tasks)], labels, SHAPE, 0.0)
    cuts = []
    for split in (0, 1):
        draw = torch.Generator().manual_seed(split)
        patterns = torch.randint(0, 200, (2 * tasks, *SHAPE), generator=torch.manual_seed(7))
        kind = torch.arange(2 * tasks).repeat_interleave(samples)
        noise = torch.randint(0, 56, (len(kind), *SHAPE), generator=draw)
        images = (patterns[kind] + noise).to(torch.uint8)
        cuts.append(Cut(images, kind % 2 if domain else kind, kind // 2, torch.arange(len(kind))))
    pixels = Pixels(mean=[0.5], std=[0.5], crop_padding=crop_padding, flip=flip, per_picture=False)
    return assemble(outline, *cuts, pixels, scope=scope, seed=seed, device="cpu")


def tiny_network(classes: int = 6, *, batch_norm: bool = False, new_rows: str = "zero") -> Network:
    """For the tiny stream, whose tasks bring two classes each."""
    torch.manual_seed(3)
    settings = {
        "widths": [8],
        "activation": "relu",
        "batch_norm": batch_norm,
        "freeze_statistics": False,
    }
    network = mlp(
        SHAPE, classes, **settings, init="default", new_rows=new_rows, inserted_layer="none"
    )
    return by_twos(network)


def by_twos(network: Network) -> Network:
    """The same; two rows of its classifier are born at a time."""
    network.classifier.split([2] * (network.classes // 2))
    return network


def first_batch(stream: Stream, task: int, size: int = 16) -> Batch:
    chosen = stream.tasks[task]
    return next(iter(batches(chosen.train, chosen, epoch=0, batch_size=size)))


def composed(*overrides: str) -> Settings:
    """The validated settings of a command line."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", ["name=unused", *overrides])
    return read(OmegaConf.to_container(config, resolve=True))


NAMES = dict.fromkeys(
    ("experiment", "dataset", "model", "strategy", "optimizer", "tracker", "group"), "test"
)


def run_here(folder: Path, *overrides: str) -> dict:
    """One run in this process; what its `results.json` holds."""
    run(composed("threads=1", *overrides), folder, config={}, names=NAMES)
    results: dict = json.loads((folder / "results.json").read_text())
    return results


@pytest.fixture(autouse=True)
def log_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """`cl-train` turns this off for its process, which the next test may share."""
    monkeypatch.setattr(logging.getLogger("cl_runner"), "propagate", True)


@pytest.fixture
def no_wandb_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """W&B knows no key, no server and no folder of this user."""
    for name in ("API_KEY", "MODE", "BASE_URL", "PROJECT", "SWEEP_ID", "RUN_ID"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    for name in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / name.lower()))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.fixture
def fresh_wandb(no_wandb_account: None) -> Iterator[None]:
    """W&B reads its variables when it is first used; so it is, for this test and after it."""
    import wandb

    wandb.teardown()
    yield
    wandb.teardown()


@pytest.fixture
def cl_train(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`cl-train` as a user types it, in an empty folder."""

    def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cl_runner.train", *arguments, "threads=1"],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
        )

    return call


@pytest.fixture
def cl_train_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The same inside this process, which spares the seconds of importing torch."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "path", [*sys.path])
    root = logging.getLogger()  # to which Hydra adds a handler that writes to today's stderr
    monkeypatch.setattr(root, "handlers", [*root.handlers])

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        given = any(argument.startswith("threads=") for argument in arguments)
        command = ["cl-train", *arguments, *([] if given else ["threads=1"])]
        monkeypatch.setattr(sys, "argv", command)
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return subprocess.CompletedProcess(command, code, *capfd.readouterr())

    return call


@pytest.fixture
def cl_train_beside(tmp_path: Path) -> Callable[..., int]:
    """The same in a forked process, which can be sent signals: returns its number at once.

    What it prints is in the files `stdout` and `stderr`; it calls `first` before all else.
    """

    def call(*arguments: str, first: Callable[[], object] = lambda: None) -> int:
        child = fork()
        if child == 0:
            first()
            run_and_exit(tmp_path, ["cl-train", *arguments, "threads=1"])
        return child

    return call


def fork() -> int:
    """`os.fork` without the warning that newer Pythons give where there are threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def run_and_exit(folder: Path, command: list[str]) -> None:
    """What a forked process does: `cl-train` in this folder, its words in `stdout` and `stderr`."""
    code = 70  # of what raises
    try:
        os.chdir(folder)
        for number, name in ((1, "stdout"), (2, "stderr")):
            stream = open(folder / name, "w")  # noqa: SIM115
            os.dup2(stream.fileno(), number)
            setattr(sys, name, stream)
        sys.argv = command
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def exit_code(child: int) -> int:
    """Wait for a forked process; a signal that ended it counts negatively."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def until(condition: Callable[[], object], child: int, seconds: float = 120.0) -> None:
    """Wait for what a child process of ours is to bring about; fail if it ends before, or never."""
    end = time.monotonic() + seconds
    over = None
    while not condition():
        assert over is None, f"the child is over: {over}"
        assert time.monotonic() < end, f"not within {seconds:g} seconds"
        over = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        time.sleep(0.0 if over else 0.01)
