"""Text for people: made safe for a terminal or a log, aligned in tables, counted."""

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
    table = [[one_line(cell) for cell in row] for row in (header, *rows)]
    columns = [_padded(column, i > 0) for i, column in enumerate(zip(*table, strict=True))]
    return "\n".join("  ".join(row).rstrip() for row in zip(*columns, strict=True))


def _padded(column: Sequence[str], may_be_numbers: bool) -> list[str]:
    """The cells of a column, its header first, at equal width."""
    width = max(map(len, column))
    numbers = may_be_numbers and not any(cell[:1].isalpha() for cell in column[1:])
    return [cell.rjust(width) if numbers else cell.ljust(width) for cell in column]


def counted(count: int, noun: str) -> str:
    """`1 seed`, `2 seeds`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def duration(seconds: float) -> str:
    """Rounded as one would say it: `12 s`, `3 min`, `5.2 h`, `2.1 days`."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 36 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"
