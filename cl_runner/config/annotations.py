"""Type annotations as the schema of settings, and in plain words."""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

UNIONS = (Union, UnionType)


def is_node(hint: Any) -> bool:
    """Whether it is a class, or a `Factory[...]`, whose values are nodes with a `_target_`."""
    found = get_origin(hint) or hint
    plain = ("builtins", "typing", "types", "collections.abc")
    return isinstance(found, type) and found.__module__ not in plain


def named(hint: Any) -> bool:
    """Whether its values have names: they choose a formula, not a number."""
    if hint is bool or get_origin(hint) is Literal:
        return True
    return get_origin(hint) in (Annotated, *UNIONS) and any(map(named, get_args(hint)))


def allowed(hint: Any) -> str:
    """A type annotation in plain words: `a number ≥ 0`, `one of all, seen, new`."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        described = [extra.description for extra in arguments[1:] if isinstance(extra, FieldInfo)]
        if any(described):
            return f"{allowed(arguments[0])} {described[-1]}"
        limits = [_limit(m) for extra in arguments[1:] for m in _metadata(extra)]
        return f"{allowed(arguments[0])} {' and '.join(filter(None, limits))}".rstrip()
    if origin in UNIONS:
        return " or ".join(allowed(argument) for argument in arguments)
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin is list:
        return f"a list, each {allowed(arguments[0])}"
    if is_node(hint):
        return f"a node with a _target_ that builds a {(arguments or [hint])[0].__name__}"
    names = {float: "a number", int: "an integer", bool: "true or false", str: "a text"}
    return names.get(hint, "null" if hint is type(None) else f"of type {hint}")


def _metadata(extra: Any) -> list[Any]:
    return list(extra.metadata) if isinstance(extra, FieldInfo) else [extra]


def _limit(constraint: Any) -> str:
    words = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    for attribute, word in words.items():
        limit = getattr(constraint, attribute, None)
        if limit is not None:
            return f"{word} {limit}"
    return ""
