"""Plain values from the bytes of a file that nobody vouches for: limits come before decoding.

A folder may be damaged or come from someone else. Whatever is wrong with a file, it ends in one
kind of error, `Damaged`.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import yaml

from cl_runner.errors import CheckpointError, first_line

T = TypeVar("T")
DEPTH = 32
"""Of nesting; what we write has less than 10."""
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a report reads hundreds of files


class Damaged(CheckpointError):
    """A file of a folder that is not what we would have written: which one, and why."""

    def __init__(self, file: Path, reason: str) -> None:
        self.file, self.reason = file, reason
        super().__init__(f"checkpoint error: {file} is damaged: {reason}")


@contextmanager
def told_as_damaged(file: Path) -> Iterator[None]:
    """Whatever a decoder raises becomes Damaged: nobody can list all that zip, zlib, YAML, JSON
    and numpy raise on bytes that they did not write."""
    try:
        yield
    except Damaged:
        raise
    except Exception as error:
        reason = "is nested too deeply" if isinstance(error, RecursionError) else first_line(error)
        raise Damaged(file, reason) from None


def content(file: Path, limit: int) -> bytes:
    """All bytes of a regular file. Raises FileNotFoundError, or Damaged if they are more than
    `limit`; a pipe, on which reading would wait for ever, is no such file."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(file) from None
    except (OSError, ValueError) as error:
        raise Damaged(file, getattr(error, "strerror", None) or str(error)) from None
    with os.fdopen(descriptor, "rb") as stream, told_as_damaged(file):
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is not a regular file")
        found = stream.read(limit + 1)
        if len(found) > limit:
            raise ValueError(f"it has more than {limit} bytes")
        return found


def of_json(data: bytes) -> Any:
    """The value of a JSON text. Raises ValueError, or RecursionError, for what we never write."""
    return checked(json.loads(data.decode(), parse_constant=_refused), math.isfinite)


def of_yaml(data: bytes) -> Any:
    """The value of a YAML text, which has no aliases: a few lines of them make gigabytes."""
    text, depth = data.decode(), 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise ValueError("it has an alias, or an anchor for one")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH:
            raise RecursionError
    return checked(yaml.load(text, Loader=_Loader), lambda value: not math.isnan(value))


def as_yaml(node: Any, **style: Any) -> str:
    """The text of plain values, without aliases where one list stands in two places."""
    text: str = yaml.dump(node, Dumper=_WithoutAliases, **style)
    return text


class _WithoutAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def checked(root: Any, number: Callable[[float], bool]) -> Any:
    """The same value, if it is made of what JSON can say: text that can be written, numbers of 64
    bits that pass `number`, keys that are text, and no deep nesting."""
    level, depth = [root], 0
    while level:
        below: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                if not all(isinstance(key, str) for key in node):
                    raise ValueError("it has a key that is not text")
                below += node
                below += node.values()
            elif isinstance(node, list):
                below += node
            elif isinstance(node, str):
                node.encode()  # half a character raises an error
            elif not _is_number(node, number) and node is not None:
                raise ValueError(f"it has a {type(node).__name__} that does not belong there")
        level, depth = below, depth + 1
        if depth > DEPTH:
            raise RecursionError
    return root


def _is_number(node: Any, number: Callable[[float], bool]) -> bool:
    if isinstance(node, float):
        return number(node)
    return isinstance(node, int) and -(2**63) <= node < 2**63


def _refused(constant: str) -> None:
    raise ValueError(f"it has {constant}")
