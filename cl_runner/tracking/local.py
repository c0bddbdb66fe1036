"""The run folder: configuration, metrics, results, status and log as plain files."""

from __future__ import annotations

import json
import logging
import os
import socket
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cl_runner.errors import FolderInUse, StorageError
from cl_runner.tracking.tracker import Record, RunInfo, Tracker

log = logging.getLogger("cl_runner")


class LocalFiles(Tracker):
    """config.yaml, metrics.jsonl (a line an event), results.json, status.json, log.txt,
    predictions.npz. Nothing is written before `begin`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metrics: int | None = None
        self.handler: logging.Handler | None = None

    def begin(self, run: RunInfo) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if (self.folder / "status.json").exists():
                raise FolderInUse(
                    f"run folder error: {self.folder} already holds a run; choose another folder="
                )
            text = yaml.safe_dump(run.config, sort_keys=False, default_flow_style=None)
            write(self.folder / "config.yaml", text)
            write_status(self.folder, "running")
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            self.metrics = os.open(self.folder / "metrics.jsonl", flags, 0o644)
            self.handler = logging.FileHandler(self.folder / "log.txt", encoding="utf-8")
        except OSError as error:
            raise StorageError(f"storage error: {error.filename}: {error.strerror}") from None
        self.handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.setLevel(logging.INFO)
        log.addHandler(self.handler)

    def log(self, record: Record) -> None:
        if self.metrics is not None:
            os.write(self.metrics, (json.dumps(record, allow_nan=False) + "\n").encode())

    def save_predictions(self, arrays: dict[str, np.ndarray[Any, Any]]) -> None:
        """The predicted class of every test sample after every task."""
        part = self.folder / "predictions.part.npz"
        np.savez_compressed(part, **arrays)  # type: ignore[arg-type]
        os.replace(part, self.folder / "predictions.npz")

    def end(self, results: dict[str, Any] | None, error: BaseException | None) -> None:
        if self.handler is None or self.metrics is None:
            return
        os.close(self.metrics)
        if results is not None:
            write(self.folder / "results.json", json.dumps(results, indent=1, allow_nan=False))
            write_status(self.folder, "complete")
        elif isinstance(error, KeyboardInterrupt):
            write_status(self.folder, "interrupted")
        elif error is not None:
            log.error("%s", "".join(traceback.format_exception(error)).rstrip())
            write_status(self.folder, "failed", error)
        log.removeHandler(self.handler)
        self.handler.close()


def write_status(folder: Path, status: str, error: BaseException | None = None) -> None:
    """status.json: running, complete, failed or interrupted, by whom, and why it failed."""
    content = {"status": status, "pid": os.getpid(), "host": socket.gethostname()}
    if error is not None:
        content["error"] = str(error)
        content["traceback"] = "".join(traceback.format_exception(error))
    write(folder / "status.json", json.dumps(content, indent=1))


def write(path: Path, text: str) -> None:
    """Write a whole file or none: a reader never sees half of it."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
