"""Offline W&B runs, read by W&B itself."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from wandb.util import get_core_path

SECONDS = 120  # the process that writes the files may be at it long after our own has gone on


def inspect(place: Path, *flags: str) -> list[dict[str, Any]]:
    """The records of the one offline run in `place`/wandb."""
    (offline,) = (place / "wandb").glob("offline-run-*")
    return read_offline(offline, *flags)


def read_offline(offline: Path, *flags: str) -> list[dict[str, Any]]:
    """The records of an offline run; with `--summary` one object.

    As `wandb leet inspect` reads them, without the second that this takes to start.
    """
    (file,) = offline.glob("run-*.wandb")
    core = [get_core_path(), "leet", "inspect", "--no-observability"]
    command = [*core, "--json", *flags, "--run-file", str(file)]
    end = time.monotonic() + SECONDS
    while not _is_whole(text := _output(command)) and time.monotonic() < end:
        time.sleep(0.5)
    return [json.loads(text)] if flags else [json.loads(line) for line in text.splitlines()]


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _is_whole(text: str) -> bool:
    """Whether it contains how the run ended, which W&B writes last."""
    return '"exit_code"' in text or '"exit"' in text
