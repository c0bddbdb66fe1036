"""Look after jobs while a launcher has the main thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread
from typing import TypeAlias

Look: TypeAlias = Callable[[], object]
POLL = 0.2  # seconds
_LOOKING = Lock()
"""No process is forked meanwhile: it would inherit a locked stream that nobody ever unlocks."""
os.register_at_fork(
    before=_LOOKING.acquire, after_in_parent=_LOOKING.release, after_in_child=_LOOKING.release
)


def nothing() -> None:
    """For those who do not look."""


@contextmanager
def looking(look: Look) -> Iterator[None]:
    """While entered, call `look` a few times a second in a thread, and once more in the end. An
    error in it ends the looking, and is raised in the end."""
    if look is nothing:
        yield
        return
    over, errors = Event(), list[BaseException]()

    def follow() -> None:
        try:
            while not over.wait(POLL):
                with _LOOKING:
                    look()
        except BaseException as error:
            errors.append(error)

    thread = Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    for error in errors:
        raise error
    look()
