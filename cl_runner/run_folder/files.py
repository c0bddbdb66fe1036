"""Files that are whole or not there: every write of a run folder, and the folder's lock."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cl_runner import lock
from cl_runner.errors import StorageError

PART = ".part"
"""Ends the name of a file that is being written; after a kill one may be left."""
LOCK = ".lock"
_FRESH = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW


def write(path: Path, content: bytes | str) -> None:
    """Put a whole file in the place of an old one, durably, or leave the old one as it is.

    Raises StorageError, with nothing left behind, if there is no room or no right to.
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
    """One line at the end of an open file, in one call of the system. Raises StorageError."""
    try:
        _write_all(descriptor, f"{line}\n".encode())
    except OSError as error:
        raise StorageError.of(path, error) from None


def sync(descriptor: int, path: Path) -> int:
    """The size of an open file, all of which is on the disk when this returns."""
    try:
        os.fsync(descriptor)
        return os.fstat(descriptor).st_size
    except OSError as error:
        raise StorageError.of(path, error) from None


def make(folder: Path) -> None:
    """Make a folder, and those above it, if they are not there. Raises StorageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError.of(folder, error) from None


def refuse_links(*paths: Path) -> None:
    """Raise StorageError if one is a link: a folder may have come from someone else, and what is
    written into it would be elsewhere."""
    for path in paths:
        if path.is_symlink():
            raise StorageError(
                f"storage error: {path} is a symbolic link, which could point anywhere"
            )


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder and hold its lock. Raises FolderInUse, which names the owner, or
    StorageError."""
    make(folder)
    refuse_links(*folder.glob("*"), *folder.glob("checkpoint/*"))
    with lock.held(folder / LOCK):
        yield


def is_locked(folder: Path) -> bool:
    """Whether some process holds the folder's lock now."""
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
