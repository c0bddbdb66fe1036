"""Checkpoints: the complete state of a run. A kill at any moment loses none of them.

One file is one state: a line with the SHA-256 of everything after it, a line of JSON (the manifest:
schema, size, task, step, settings), then a torch archive of tensors and plain values. The digest
protects against accidents. Against malice, nothing but tensors and plain values is ever loaded.
"""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import torch

from cl_runner.errors import CheckpointError, StorageError, first_line
from cl_runner.run_folder.files import PART, make, write
from cl_runner.run_folder.plain import of_json

SCHEMA = 2
State = dict[str, Any]
KEEP = 2  # the newest, and the previous one in case the newest is damaged


class Unusable(Exception):
    """Why one checkpoint file cannot be used."""


class Checkpoints:
    """The checkpoints of one run; `settings` is the digest of its settings."""

    def __init__(self, folder: Path, settings: str) -> None:
        self.folder, self.settings = folder, settings

    def save(self, state: State) -> None:
        """Write the state, then remove all but the newest two.

        Raises StorageError, which names the last good checkpoint, if it cannot be written.
        """
        task, step = state["position"]["task"], state["cost"]["steps"]
        manifest = {"schema": SCHEMA, "task": task, "step": step, "settings": self.settings}
        try:
            make(self.folder)
            write(self.folder / f"task-{task:05}-step-{step:010}.ckpt", packed(state, manifest))
        except StorageError as error:
            old = self.newest_first()
            left = f"the last good checkpoint is {old[0].name}" if old else "no checkpoint is left"
            raise StorageError(f"{error}; {left}") from None
        self.prune(KEEP)

    def load(self) -> tuple[State | None, list[str]]:
        """The newest usable state, None if none was ever saved; and warnings.

        Each newer one that cannot be used is renamed to end in .bad, with a warning. Raises
        CheckpointError if there are checkpoints, but none can be used.
        """
        problems: dict[Path, Unusable] = {}
        for file in self.newest_first():
            try:
                state = self._read(file)
            except Unusable as problem:
                problems[file] = problem
                continue
            for bad in problems:
                bad.rename(f"{bad}.bad")
            return state, [f"{p} {why}; going back to {file.name}" for p, why in problems.items()]
        if problems:
            reasons = "; ".join(f"{file.name} {why}" for file, why in problems.items())
            raise CheckpointError(f"checkpoint error: none in {self.folder} can be used: {reasons}")
        return None, []

    def newest(self) -> State:
        """The newest state; changes no file. Raises CheckpointError if it cannot be used."""
        files = self.newest_first()
        if not files:
            raise CheckpointError(f"checkpoint error: there is none in {self.folder}")
        try:
            return self._read(files[0])
        except Unusable as why:
            raise CheckpointError(f"checkpoint error: {files[0]} {why}") from None

    def newest_first(self) -> list[Path]:
        """All whole checkpoints; their names sort by age."""
        return sorted(self.folder.glob("*.ckpt"), reverse=True)

    def prune(self, keep: int) -> None:
        """Remove all but the newest `keep`, and any file that a kill left half-written."""
        for file in [*self.newest_first()[keep:], *self.folder.glob(f"*{PART}")]:
            file.unlink(missing_ok=True)

    def _read(self, file: Path) -> State:
        manifest, archive = unpacked(file)
        if manifest.get("settings") != self.settings:
            raise Unusable("belongs to a run with other settings")
        state = loaded(archive)
        size, digest = state.get("metrics_size"), state.get("metrics_sha256")
        if type(size) is not int or size < 0 or not isinstance(digest, str):
            raise Unusable("is not the state of a run")
        return state


def packed(state: State, manifest: dict[str, Any]) -> bytes:
    """The bytes of a checkpoint file."""
    archive = io.BytesIO()
    torch.save(state, archive)
    content = archive.getbuffer()
    head = json.dumps({**manifest, "size": len(content)}).encode() + b"\n"
    digest = hashlib.sha256(head)
    digest.update(content)
    return b"".join([digest.hexdigest().encode(), b"\n", head, content])


def loaded(archive: bytes) -> State:
    """The state in an archive. Raises Unusable."""
    try:
        state = torch.load(io.BytesIO(archive), map_location="cpu", weights_only=True)
    except Exception as error:  # nobody can list what torch raises on a file it did not write
        problem = f"holds more than tensors and plain values ({first_line(error)})"
        raise Unusable(problem) from None
    if not isinstance(state, dict):
        raise Unusable("is not the state of a run")
    return state


def unpacked(file: Path) -> tuple[dict[str, Any], bytes]:
    """Manifest and archive of a checkpoint file. Raises Unusable if the file is not whole."""
    try:
        if not file.is_file():  # reading a pipe could wait for ever
            raise Unusable("is not a regular file")
        stated, _, rest = file.read_bytes().partition(b"\n")
    except OSError as error:
        raise Unusable(f"cannot be read ({error.strerror})") from None
    if hashlib.sha256(rest).hexdigest().encode() != stated:
        raise Unusable("is damaged (its SHA-256 differs)")
    head, _, archive = rest.partition(b"\n")
    try:
        manifest: dict[str, Any] = dict(of_json(head))
    except (ValueError, TypeError, RecursionError):
        raise Unusable("has no manifest") from None
    if manifest.get("schema") != SCHEMA:
        raise Unusable(f"has schema {manifest.get('schema')}, this version reads schema {SCHEMA}")
    return manifest, archive
