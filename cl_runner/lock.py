"""A lock file: one process at a time holds it, and the kernel frees it when that process ends.

Not the package `filelock`: its older versions empty the file that names the owner, and where there
is no flock, newer ones fall back to a marker that outlives a killed process.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from weakref import WeakSet

from cl_runner.errors import FolderInUse, StorageError

PATIENCE = 0.1
"""Seconds after which a process that only asks whether the lock is held has released it."""
_OPEN: WeakSet[FileIO] = WeakSet()


@contextmanager
def held(file: Path, waiting: Callable[[], object] | None = None) -> Iterator[None]:
    """Hold this lock, whose file names the owner.

    waiting: called repeatedly while another process holds the lock; it may raise to end the wait.
    Without it, raises FolderInUse, which names the owner. Raises StorageError if locking fails.
    """
    try:
        opened = FileIO(file, "r+", opener=_create)
    except OSError as error:
        raise StorageError.of(file, error) from None
    _OPEN.add(opened)
    with opened:
        end = time.monotonic() + PATIENCE
        while not _taken(opened, file):
            if waiting is not None:
                waiting()
            elif time.monotonic() > end:
                owner = os.read(opened.fileno(), 200).decode() or "another process"
                raise FolderInUse(f"run folder error: {file.parent} is in use by {owner}")
            time.sleep(0.02)
        yield


def is_held(file: Path) -> bool:
    """Whether some process holds this lock now, other than one that also only asks."""
    try:
        with FileIO(file, opener=_without_waiting) as opened:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _without_waiting(path: str, flags: int) -> int:
    """Opening a pipe, which someone else may have put there, would wait for a writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def _create(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW, 0o644)


def _taken(opened: FileIO, file: Path) -> bool:
    """Whether this process now holds the lock."""
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(opened.fileno(), 0)
        os.write(opened.fileno(), f"process {os.getpid()} on {socket.gethostname()}".encode())
    except BlockingIOError:
        return False
    except OSError as error:
        raise StorageError.of(file, error) from None
    return True


def _release_all() -> None:
    """A forked child shares open files: without this it would hold its parent's locks."""
    for opened in _OPEN:
        opened.close()


os.register_at_fork(after_in_child=_release_all)
