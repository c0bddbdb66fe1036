"""Files that are whole or do not exist: all writes to a run folder, and the folder's lock."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cl_runner import lock
from cl_runner.errors import StorageError

PART = ".part"
"""Ends the name of a file that is being written. A kill may leave one behind."""
LOCK = ".lock"
_FRESH = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW


def write(path: Path, content: bytes | str) -> None:
    """Replace a file as a whole, durably, or leave it as it is.

    Raises StorageError, with nothing left behind, if there is no space or no permission.
    """
    data = content.encode() if isinstance(content, str) else content
    part = path.with_name(path.name + PART)
    try:
        _check_space(path, len(data))
        descriptor = os.open(part, _FRESH, 0o644)
        try:
            _write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(part, path)
        _sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise StorageError.of(path, error) from None


def append(descriptor: int, line: str, path: Path) -> None:
    """Add one line to an open file, in one system call. Raises StorageError."""
    try:
        _write_all(descriptor, f"{line}\n".encode())
    except OSError as error:
        raise StorageError.of(path, error) from None


def sync(descriptor: int, path: Path) -> int:
    """Make sure that all of an open file is on the disk; return its size. Raises StorageError."""
    try:
        os.fsync(descriptor)
        return os.fstat(descriptor).st_size
    except OSError as error:
        raise StorageError.of(path, error) from None


def make(folder: Path) -> None:
    """Make a folder and those above it, if they do not exist. Raises StorageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError.of(folder, error) from None


def refuse_links(*paths: Path) -> None:
    """Raise StorageError if one is a link, or a pipe or the like: the folder may come from someone
    else, and we would write somewhere else, or wait for ever."""
    for path in paths:
        if path.is_symlink():
            raise StorageError(
                f"storage error: {path} is a symbolic link, which could point anywhere"
            )
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise StorageError(f"storage error: {path} is neither a file nor a folder; remove it")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder and hold its lock. Raises StorageError, or FolderInUse, which names the
    owner."""
    make(folder)
    refuse_links(*folder.glob("*"), *folder.glob("checkpoint/*"))
    with lock.held(folder / LOCK):
        yield


def is_locked(folder: Path) -> bool:
    """Whether a process holds the folder's lock now."""
    return lock.is_held(folder / LOCK)


def _check_space(path: Path, needed: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise StorageError(
            f"storage error: disk full while writing {path}: {needed} bytes needed, {free} free"
        )


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
