"""Plain values from the bytes of an untrusted file: limits are checked before decoding.

A folder may be damaged or come from someone else. Whatever is wrong with a file, the error is
`Damaged`.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from cl_runner.errors import CheckpointError, first_line

DEPTH = 32
"""The deepest nesting that is read; what we write has less than 10 levels."""
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a report reads hundreds of files


class Damaged(CheckpointError):
    """A file that we would not have written so, and the reason."""

    def __init__(self, file: Path, reason: str) -> None:
        self.file, self.reason = file, reason
        super().__init__(f"checkpoint error: {file} is damaged: {reason}")


class Missing(Damaged):
    """There is no such file."""


@contextmanager
def decoding(file: Path, place: str = "") -> Iterator[None]:
    """Turn whatever a decoder raises into Damaged, with the place in the file. Nobody can list all
    that zip, zlib, YAML, JSON and numpy raise on bytes that they did not write."""
    try:
        yield
    except Damaged:
        raise
    except Exception as error:
        raise Damaged(file, place + _reason(error)) from None


def _reason(error: Exception) -> str:
    """What is wrong, in one line; the first complaint and its place if pydantic has several."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if not isinstance(error, ValidationError):
        return first_line(error)
    first = error.errors(include_url=False, include_input=False)[0]
    key = ".".join(map(str, first["loc"]))
    complaint = first["msg"].removeprefix("Value error, ")
    return f"{key}: {complaint}" if key else complaint


def content(file: Path, limit: int) -> bytes:
    """All bytes of a regular file. Raises Missing if there is none, and Damaged if it has more than
    `limit` bytes or is something else, such as a pipe, on which reading could wait for ever."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise Missing(file, "it does not exist") from None
    except (OSError, ValueError) as error:
        raise Damaged(file, getattr(error, "strerror", None) or str(error)) from None
    with os.fdopen(descriptor, "rb") as stream, decoding(file):
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is not a regular file")
        data = stream.read(limit + 1)
        if len(data) > limit:
            raise ValueError(f"it has more than {limit} bytes")
        return data


def of_json(data: bytes) -> Any:
    """The value of a JSON text. Raises ValueError or RecursionError for what we never write."""
    return checked(json.loads(data.decode(), parse_constant=_refused), math.isfinite)


def of_yaml(data: bytes) -> Any:
    """The value of a YAML text. Aliases are refused: a few lines of them can make gigabytes."""
    text, depth = data.decode(), 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise ValueError("it has an alias or an anchor")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH:
            raise RecursionError
    return checked(yaml.load(text, Loader=_Loader), lambda value: not math.isnan(value))


def as_yaml(node: Any, **style: Any) -> str:
    """The YAML text of plain values, without aliases even if a list occurs twice."""
    text: str = yaml.dump(node, Dumper=_WithoutAliases, **style)
    return text


class _WithoutAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def checked(root: Any, number: Callable[[float], bool]) -> Any:
    """The same value, if JSON can represent it: text that can be encoded, integers of 64 bits,
    other numbers that pass `number`, keys that are text, and no deep nesting."""
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
                node.encode()  # raises an error for half a surrogate pair
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
