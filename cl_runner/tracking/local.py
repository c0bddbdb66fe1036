"""The run folder: configuration, metrics, results, status and log as plain files."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import socket
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from cl_runner.errors import CheckpointError, Interrupted, StorageError
from cl_runner.hidden import masked
from cl_runner.run_folder.events import Event
from cl_runner.run_folder.files import append, sync, write
from cl_runner.run_folder.outcome import Results
from cl_runner.run_folder.plain import as_yaml
from cl_runner.text import harmless
from cl_runner.tracking.tracker import RunInfo, Tracker

log = logging.getLogger("cl_runner")


class LocalFiles(Tracker):
    """config.yaml, overrides.yaml, metrics.jsonl (one line per event), results.json, status.json,
    log.txt, predictions.npz. Nothing is written before `begin`.

    metrics_size: bytes of metrics.jsonl that belong to the state from which the run continues. The
    rest is cut off, as it will be logged again.
    """

    def __init__(self, folder: Path, metrics_size: int = 0) -> None:
        self.folder = folder
        self.metrics_size = metrics_size
        self.digest = hashlib.sha256()  # of all bytes of metrics.jsonl
        self.metrics: int | None = None
        self.handler: logging.Handler | None = None
        self.who: dict[str, Any] = {}
        self.masks: dict[str, str] = {}

    def begin(self, run: RunInfo) -> None:
        self.masks, attempt = run.masks, run.attempt
        self.who = {
            "run_id": attempt.run_id,
            "attempt": attempt.number,
            "settings": attempt.settings,
            "names": run.names,
        }
        if attempt.code:
            self.who["code"] = dict(attempt.code)
        if attempt.number == 1:
            write(self.folder / "overrides.yaml", as_yaml(run.overrides))
            text = as_yaml(run.config, sort_keys=False, default_flow_style=None)
            write(self.folder / "config.yaml", text)
        path = self.folder / "metrics.jsonl"
        try:
            self.metrics = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            if os.fstat(self.metrics).st_size < self.metrics_size:
                raise CheckpointError(f"checkpoint error: {path} lacks lines of its checkpoint")
            write_status(self.folder, "running", self.who)
            os.ftruncate(self.metrics, self.metrics_size)
            self.digest.update(path.read_bytes())
            self.handler = _LogFile(self.folder / "log.txt", run.masks)
        except OSError as error:
            raise StorageError.of(path, error) from None
        log.setLevel(logging.INFO)
        log.addHandler(self.handler)

    def log(self, event: Event) -> None:
        if self.metrics is not None:
            line = json.dumps(event.line(), allow_nan=False)
            append(self.metrics, line, self.folder / "metrics.jsonl")
            self.digest.update(f"{line}\n".encode())

    def durable(self) -> dict[str, Any]:
        """Make sure that metrics.jsonl is on the disk; return its size and digest."""
        file = self.folder / "metrics.jsonl"
        size = 0 if self.metrics is None else sync(self.metrics, file)
        return {"metrics_size": size, "metrics_sha256": self.digest.hexdigest()}

    def save_arrays(self, name: str, arrays: dict[str, np.ndarray[Any, Any]]) -> None:
        """Write predictions.npz, probe.npz or logits.npz."""
        content = io.BytesIO()
        np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
        write(self.folder / name, content.getvalue())

    def end(self, results: Results | None, error: BaseException | None) -> None:
        if self.handler is None or self.metrics is None:
            return
        os.close(self.metrics)
        try:
            self._conclude(results, error)
        finally:
            log.removeHandler(self.handler)
            self.handler.close()

    def _conclude(self, results: Results | None, error: BaseException | None) -> None:
        if results is not None:
            content = json.dumps(results.document(), indent=1, allow_nan=False)
            write(self.folder / "results.json", content)
            write_status(self.folder, "complete", self.who)
        elif isinstance(error, Interrupted | KeyboardInterrupt):
            write_status(self.folder, "interrupted", self.who)
        elif error is not None:
            with suppress(StorageError):  # on a full disk the first error is the one that counts
                write_status(self.folder, "failed", self.who, error, self.masks)
                log.error("%s", "".join(traceback.format_exception(error)).rstrip())


def write_status(
    folder: Path,
    status: str,
    who: dict[str, Any],
    error: BaseException | None = None,
    masks: dict[str, str] | None = None,
) -> None:
    """Write status.json: running, complete, failed or interrupted, by whom, and the error."""
    content = {"status": status, "pid": os.getpid(), "host": socket.gethostname(), **who}
    if error is not None:
        content["exit_code"] = getattr(error, "exit_code", 1)
        content["error"] = masked(str(error), masks or {})
        content["traceback"] = masked("".join(traceback.format_exception(error)), masks or {})
    write(folder / "status.json", json.dumps(content, indent=1))


class _LogFile(logging.Handler):
    """log.txt, with times. A line that cannot be written ends the run, as with any other file."""

    def __init__(self, path: Path, masks: dict[str, str]) -> None:
        super().__init__()
        self.path, self.masks = path, masks
        self.descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        append(self.descriptor, harmless(masked(self.format(record), self.masks)), self.path)

    def close(self) -> None:
        """Close the file once. `logging` closes every handler again whenever it is configured; by
        then the descriptor may belong to another file."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
        super().close()
