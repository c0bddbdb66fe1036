"""Text from elsewhere, made safe for a terminal or a log: control characters are escaped."""

from __future__ import annotations

import re
from collections.abc import Sequence

_STEERS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters except tab and newline
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # change the direction, or end a line
    "\ud800-\udfff]"  # halves of characters, which cannot be encoded
)


def harmless(text: str) -> str:
    """The text with an escape such as `\\x1b` for each character that could steer a terminal."""
    return _STEERS.sub(lambda match: ascii(match.group())[1:-1], text)


def one_line(text: str) -> str:
    """The same on one line."""
    return harmless(text).replace("\n", "\\n").replace("\t", " ")


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table: columns of numbers, except the first column, are aligned to the right."""
    rows = [[one_line(cell) for cell in row] for row in rows]
    table = [[one_line(cell) for cell in header], *rows]
    widths = [max(len(row[c]) for row in table) for c in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if not _number(rows, c) else cell.rjust(w)
            for c, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    )


def _number(rows: Sequence[Sequence[str]], column: int) -> bool:
    return column > 0 and all(not row[column][:1].isalpha() for row in rows)
