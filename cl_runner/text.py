"""Text of others for a terminal or a log: what would steer a terminal is shown, never sent."""

from __future__ import annotations

import re

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
