"""What a sweep writes and prints, for tests of whatever runs many jobs."""

from __future__ import annotations

import re
from pathlib import Path

TINY = ("epochs=1", "batch_size=64", "model.widths=[8]")


def states(text: str) -> dict[str, int]:
    """How many jobs are in each state, from the line that ends a sweep."""
    (line,) = re.findall(r"^\d+ jobs?: (.*)$", text, re.MULTILINE)
    return {state: int(n) for n, state in (part.split(" ", 1) for part in line.split(", "))}


def planned(text: str) -> list[str]:
    """The column `what` of a plan."""
    header, *rows = [line.split() for line in text.splitlines()]
    column = header.index("what")
    return [row[column] for row in rows if row[0][:3].isdigit() and "_" in row[0]]


def results(folder: Path) -> list[bytes]:
    return [
        (job / name).read_bytes()
        for job in sorted(folder.glob("0*"))
        for name in ("metrics.jsonl", "predictions.npz")
    ]
