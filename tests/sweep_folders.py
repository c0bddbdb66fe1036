"""What a sweep writes and prints, for tests of whatever runs many jobs."""

from __future__ import annotations

from pathlib import Path

TINY = ("epochs=1", "batch_size=64", "model.widths=[8]")


def states(text: str) -> list[str]:
    """The column `state` of the table that ends a sweep, or `what` of a plan."""
    header, *rows = [line.split() for line in text[text.rindex("\njob ") :].strip().splitlines()]
    column = header.index("state" if "state" in header else "what")
    return [row[column] for row in rows if row[0][:3].isdigit() and "_" in row[0]]


def results(folder: Path) -> list[bytes]:
    return [
        (job / name).read_bytes()
        for job in sorted(folder.glob("0*"))
        for name in ("metrics.jsonl", "predictions.npz")
    ]
