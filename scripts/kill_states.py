"""What a kill at each crash point would leave on disk, recorded in a single run.

How a run continues depends only on the bytes in its folder, so crash points that leave the same
bytes share one continuation.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Left:
    """A copy of the run folder, and the points that leave it so: point → steps taken by then."""

    folder: Path
    points: dict[int, int]

    def put(self, run: Path) -> None:
        """Restore the run folder, if there was one at these points."""
        if self.folder.exists():
            shutil.copytree(self.folder, run)


class Recorder:
    """Called at each crash point; copies the run folder unless it is as at an earlier point."""

    def __init__(self, run: Path, kept: Path) -> None:
        self.run, self.steps, self.kept = run, run.with_suffix(".steps"), kept
        kept.mkdir()

    def __call__(self) -> None:
        digest = hashlib.sha256()
        for file in sorted(self.run.rglob("*")):
            digest.update(f"{file.relative_to(self.run)}\0{file.is_file()}".encode())
            if file.is_file():
                digest.update(hashlib.sha256(file.read_bytes()).digest())
        folder = self.kept / digest.hexdigest()
        if self.run.exists() and not folder.exists():
            shutil.copytree(self.run, folder)
        with (self.kept / "points").open("a") as points:
            points.write(json.dumps([folder.name, self.steps.stat().st_size]) + "\n")

    def left(self, without: list[int]) -> list[Left]:
        """The recorded states after the run. without: points to leave out, counted from 1."""
        points: dict[str, dict[int, int]] = defaultdict(dict)
        lines = (self.kept / "points").read_text().splitlines()
        for number, (name, steps) in enumerate(map(json.loads, lines), 1):
            if number not in without:
                points[name][number] = steps
        return [Left(self.kept / name, taken) for name, taken in points.items()]
