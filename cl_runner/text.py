"""Text of others for a terminal or a log: what would steer a terminal is shown, never sent."""

from __future__ import annotations

import re
from collections.abc import Sequence

_STEERS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tabulator and newline
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # they turn the direction, or end a line
    "\ud800-\udfff]"  # halves of characters, which no terminal takes
)


def harmless(text: str) -> str:
    """The text with each such character as its escape, such as `\\x1b`."""
    return _STEERS.sub(lambda found: ascii(found.group())[1:-1], text)


def one_line(text: str) -> str:
    """The same where a newline would break a row."""
    return harmless(text).replace("\n", "\\n").replace("\t", " ")


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of equal width: the first two of text to the left, numbers to the right."""
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
