"""The cache folder of decoded data: what is in it is named by what it was made from."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, TypeVar

from cl_runner import lock

T = TypeVar("T")


def place(name: str, made_from: Iterable[str], ending: str) -> Path:
    """A file in $XDG_CACHE_HOME/cl_runner: `name`, a digest of these lines, and the ending."""
    digest = blake2b(digest_size=16)
    for line in made_from:
        digest.update(f"{line}\n".encode(errors="surrogateescape"))
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "cl_runner" / f"{name}-{digest.hexdigest()}{ending}"


def kept(file: Path, read: Callable[[], T | None], write: Callable[[BinaryIO], None]) -> T:
    """What is read from a file, which is written first if it is not there.

    read: gives None unless the file is whole. Its content is put in place in one move; what an
    interruption leaves is overwritten the next time. One process writes, others wait. Raises
    OSError, or StorageError for the lock, if nothing can be kept there, and what `write` raises.
    """
    found = read()
    if found is not None:
        return found
    file.parent.mkdir(parents=True, exist_ok=True)
    with lock.held(file.with_suffix(".lock"), waiting=lambda: None):
        found = read()  # another process may have written it by now
        if found is None:
            part = file.with_suffix(".part")
            try:
                with part.open("wb") as content:
                    write(content)
                os.replace(part, file)
            finally:
                part.unlink(missing_ok=True)
            found = read()
    if found is None:
        raise OSError(f"{file} cannot be read")
    return found
