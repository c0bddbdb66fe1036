"""Docstrings and comments as Markdown of the site."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cl_runner.config.manual import Node
from cl_runner.config.paths import CONF


def escaped(words: str) -> str:
    """Plain text as Markdown with backticks: `θ*` begins no emphasis, and `[B, C]` no link."""
    return "".join(p if p[:1] == "`" else _signs(p) for p in re.split(r"(`[^`]*`)", words))


def _signs(words: str) -> str:
    words = words.replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([*\[]|(?<!\w)_)", r"\\\1", words)


def text(words: str) -> str:
    """The same, and names of files become links."""
    return re.sub(r"`?(?:strategies/)?(parts/)?(\w+)\.(?:py|yaml)`?", _link, escaped(words))


def _link(found: re.Match[str]) -> str:
    """Another strategy, or a part of strategies, whose file the text names."""
    part, name = found[1], found[2]
    if part:
        return f"[{name}][cl_runner.strategies.parts.{name}]"
    is_option = (CONF / "strategy" / f"{name}.yaml").is_file()
    return f"[`{name}`](/strategies/{name}.md)" if is_option else found[0]


def cell(words: str) -> str:
    """Text in a table."""
    return " ".join(text(words).replace("|", r"\|").split())


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def settings(node: Node) -> str:
    """The settings of a node as a table; empty if it has none."""
    rows = []
    for s in node.settings:
        default = re.sub(r"^cl_runner[\w.]*\.", "", s.default)  # of a node: its class
        about = [cell(s.comment), f"<small>{cell(s.allowed)}</small>" if s.allowed else ""]
        rows.append([f"`{s.key}`<br>`{default}`", "<br>".join(filter(None, about))])
    return table(["setting and default", "meaning, and what is allowed"], rows) if rows else ""
