"""What a `_target_` may name: classes and functions that declare themselves one, and no others.

A configuration may come from someone else, and what it names is called. So nothing can be named
that was not written to be: not a function that starts processes, nor a command of this package.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T", bound=Callable[..., Any])
_DECLARED: set[Callable[..., Any]] = set()


def target(found: T) -> T:
    """Declare a function, or a class and all that are derived from it: `@target`."""
    _DECLARED.add(found)
    return found


def is_target(found: Callable[..., Any]) -> bool:
    """Whether it, or a class that it is derived from, is declared."""
    lineage = found.__mro__ if isinstance(found, type) else [found]
    return any(member in _DECLARED for member in lineage)
