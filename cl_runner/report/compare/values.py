"""Values of settings as people write and order them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

LONG = 7
"""A number with more characters is shown in brief where there are many."""


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def in_order(value: Any) -> tuple[int, float, str]:
    """A sort key: numbers by size, then everything else as text."""
    return (0, float(value), "") if is_number(value) else (1, 0.0, shown(value))


def shown(value: Any) -> str:
    """A setting as it is typed; of one that consists of several, those that are set."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(map(shown, value))}]"
    if isinstance(value, dict):
        parts = {k: v for k, v in value.items() if k != "_target_" and v is not None}
        return "{" + ",".join(f"{k}:{shown(v)}" for k, v in parts.items()) + "}"
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value)


def brief(value: Any) -> str:
    """The same with four digits of a number: what a search has drawn has sixteen."""
    text = shown(value)
    return f"{value:.4g}" if isinstance(value, float) and len(text) > LONG else text


def in_brief(values: Iterable[Any]) -> dict[str, str]:
    """Each of them as it is typed → in brief, or as typed if two would then look the same."""
    texts = {shown(value): brief(value) for value in values}
    return texts if len({*texts.values()}) == len(texts) else dict(zip(texts, texts, strict=True))
