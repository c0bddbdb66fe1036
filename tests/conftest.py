"""Shared fixtures: ways to run `cl-train`, W&B without an account, no figures."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from own_metrics import registry_as_before
from processes import fork, run_and_exit

from cl_runner.config import hydra_loader
from cl_runner.plugins import loading, trusted
from cl_runner.train import main

torch.set_num_threads(1)
# A shell script starts what it puts in the background with Ctrl-C ignored; tests here press it.
signal.signal(signal.SIGINT, signal.default_int_handler)
hydra_loader.install()  # also for tests that compose without a command
pytest_plugins = ["skipped"]


LONGEST = ("kill_campaign", "documents", "secrets", "search_launchers", "suite_launchers")
"""The files of the longest tests, or of a long fixture that their tests share."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that no worker has to wait in the end for one that started it late, and
    none of a file's tests is taken by the other worker, which would need the fixture again."""
    items.sort(key=lambda item: item.path.stem.removeprefix("test_") not in LONGEST)


@pytest.fixture(autouse=True, scope="session")
def nothing_trusted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The user's own list of trusted plugins is neither read nor changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield


@pytest.fixture(autouse=True)
def nothing_registered() -> Iterator[None]:
    """Metrics of the user's that a test registers, and plugins that it trusts, are forgotten."""
    with registry_as_before():
        yield
    trusted._found.cache_clear()
    loading._done.clear()


@pytest.fixture(autouse=True)
def log_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`cl-train` turns propagation off and sets a level in its process, which may also run the next
    test, and before that the fixtures of its file."""
    log = logging.getLogger("cl_runner")
    log.setLevel(logging.NOTSET)
    monkeypatch.setattr(log, "propagate", True)
    yield
    log.setLevel(logging.NOTSET)


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
    """W&B only reads its variables when first used: reset it before and after this test."""
    import wandb

    wandb.teardown()
    yield
    wandb.teardown()


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that only read a report's words: drawing takes a second."""
    # Imported here, as most tests do without matplotlib.
    from cl_runner.report.render import animation, drawings, reasons, strategy_panels
    from cl_runner.report.suites import OfSuite

    monkeypatch.setattr(animation, "FRAMES", 2)
    monkeypatch.setattr(drawings, "of_section", lambda section, looks: [])
    monkeypatch.setattr(reasons, "drawings_of", lambda explained: [])
    monkeypatch.setattr(strategy_panels, "blocks", lambda section: [])
    monkeypatch.setattr(OfSuite, "drawings", lambda suite, runs, looks: [])


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
        runs = arguments[:1] not in (("new",), ("--plugins",), ("--trust",), ("--distrust",))
        command = ["cl-train", *arguments, *(["threads=1"] if runs and not given else [])]
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
    """The same in a forked process, which can be sent signals. Returns its process id at once.

    Its output is in the files `stdout` and `stderr`. It calls `first` before anything else.
    """

    def call(*arguments: str, first: Callable[[], object] = lambda: None) -> int:
        child = fork()
        if child == 0:
            first()
            run_and_exit(tmp_path, ["cl-train", *arguments, "threads=1"])
        return child

    return call
