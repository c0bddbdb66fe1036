"""What a `_target_` may name: classes and functions that declare themselves one, and no others.

A configuration may come from someone else, and what it names is called. So nothing can be named
that was not written to be: not a function that starts processes, nor a command of this package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, TypeVar

T = TypeVar("T", bound=Callable[..., Any])
_DECLARED: set[Callable[..., Any]] = set()
_TRUSTED = {"cl_runner"}
"""Packages that may be imported because a configuration names them."""


def target(found: T) -> T:
    """Declare a function, or a class and all that are derived from it: `@target`."""
    _DECLARED.add(found)
    return found


def is_target(found: Callable[..., Any]) -> bool:
    """Whether it, or a class that it is derived from, is declared."""
    lineage = found.__mro__ if isinstance(found, type) else [found]
    return any(member in _DECLARED for member in lineage)


def trust(packages: Iterable[str]) -> None:
    """Let these packages be imported in this process: the command line says so."""
    _TRUSTED.update(packages)


def known(path: str) -> Callable[..., Any] | None:
    """The target at this dotted path, to be looked at, not called. None, and nothing is imported,
    if its package is neither ours nor trusted; None also for whatever is wrong with it."""
    module, _, name = path.rpartition(".")
    if path.partition(".")[0] not in _TRUSTED:
        return None
    try:
        found: Callable[..., Any] = getattr(import_module(module), name)
        return found if is_target(found) else None
    except (Exception, SystemExit):  # a user's own module can raise anything
        return None
