"""Crash points at the system calls with which a process changes the files of a folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

Point = Callable[[str], None]
"""Called with the name of each crash point that is reached."""


def around(call: Callable[..., Any], name: str, point: Point) -> Callable[..., Any]:
    """The call with a crash point before and after it."""

    def watched(*given: Any, **named: Any) -> Any:
        point(f"before {name}")
        result = call(*given, **named)
        point(f"after {name}")
        return result

    return watched


class Disk:
    """The system calls with which a process changes the files of one folder, with crash points
    before and after each, and half-way through each write."""

    def __init__(self, folder: Path, point: Point) -> None:
        self.folder, self.point = os.path.abspath(folder), point
        self.system = {name: getattr(os, name) for name in ("open", "write", "fsync", "ftruncate")}
        self.opened: set[int] = set()  # descriptors of files in the folder

    def watch(self) -> None:
        """Replace them in this process from here on."""
        for name in ("replace", "unlink", "mkdir"):
            setattr(os, name, self.of_path(getattr(os, name), name))
        for name in ("fsync", "ftruncate"):
            setattr(os, name, self.of_descriptor(self.system[name], name))
        os.open, os.write = self.open, self.write  # type: ignore[assignment]

    def holds(self, path: Any) -> bool:
        place: str = os.path.abspath(os.fsdecode(path))
        return place == self.folder or place.startswith(self.folder + os.sep)

    def of_path(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        watched = around(call, name, self.point)
        return lambda path, *rest, **named: (watched if self.holds(path) else call)(
            path, *rest, **named
        )

    def of_descriptor(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        watched = around(call, name, self.point)
        return lambda file, *rest: (watched if file in self.opened else call)(file, *rest)

    def open(self, path: Any, *rest: Any, **named: Any) -> int:
        ours = self.holds(path)
        if ours:
            self.point("before open")
        descriptor: int = self.system["open"](path, *rest, **named)
        (self.opened.add if ours else self.opened.discard)(descriptor)
        return descriptor

    def write(self, file: int, data: bytes | memoryview) -> int:
        if file not in self.opened:
            return int(self.system["write"](file, data))
        self.point("before write")
        half = int(self.system["write"](file, data[: len(data) // 2]))
        self.point("half-way through write")
        rest = int(self.system["write"](file, data[half:]))
        self.point("after write")
        return half + rest
