"""Calls that are a process of their own, in tests."""

from __future__ import annotations

import os
import sys
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
from processes import exit_code, fork

from cl_runner.api import own_process


class Forked:
    """In place of a new process, which would need seconds to import torch: a fork of this one."""

    def __init__(self, command: list[str], pass_fds: list[int], **_: Any) -> None:
        assert command[:4] == [sys.executable, "-P", "-m", own_process.MODULE]
        stdin, self.stdin = os.pipe()
        stdout, written = os.pipe()
        self.pid = fork()
        if self.pid == 0:
            os.setsid()
            os.close(self.stdin)
            os.dup2(stdin, 0)
            os.dup2(written, 1)
            os.dup2(written, 2)
            sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")
            sys.stderr = os.fdopen(2, "w")
            sys.argv = command[3:]
            forkserver._forkserver.__init__()  # that of this process cannot be used by a fork
            code = 1
            try:
                own_process.main()
                code = 0
            except SystemExit as stop:
                code = int(stop.code or 0)
            finally:
                sys.stdout.flush()
                os._exit(code)
        os.close(stdin)
        os.close(written)
        self.stdout = os.fdopen(stdout, "rb")
        self.returncode: int | None = None

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *_: Any) -> None:
        os.close(self.stdin)
        self.stdout.close()

    def wait(self) -> None:
        self.returncode = exit_code(self.pid)


@pytest.fixture
def in_a_fork(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(own_process, "Popen", Forked)
    monkeypatch.chdir(tmp_path)
