"""Type annotations as the schema of settings, and how they are worded for a user."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

UNIONS = (Union, UnionType)
WORDS = {
    float: "a number",
    int: "an integer",
    bool: "true or false",
    str: "text",
    NoneType: "null",
}
SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def is_node(hint: Any) -> bool:
    """Whether it is a class, or a `Factory[...]`, whose values are nodes with a `_target_`."""
    kind = get_origin(hint) or hint
    plain = ("builtins", "typing", "types", "collections.abc")
    return isinstance(kind, type) and kind.__module__ not in plain


def named(hint: Any) -> bool:
    """Whether its values have names, and so choose a formula rather than a number."""
    if hint is bool or get_origin(hint) is Literal:
        return True
    return get_origin(hint) in (Annotated, *UNIONS) and any(map(named, get_args(hint)))


def allowed(hint: Any) -> str:
    """A type annotation in plain words: `a number ≥ 0`, `one of all, seen, new`."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return f"{allowed(arguments[0])} {_limits(arguments[1:])}".rstrip()
    if origin in UNIONS:
        return " or ".join(map(allowed, arguments))
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin is list:
        return f"a list, each {allowed(arguments[0])}"
    if origin is dict:
        return "names with values: {name: value}"
    if is_node(hint):
        return f"a node with a _target_ that builds a {(arguments or [hint])[0].__name__}"
    return WORDS.get(hint, f"of type {hint}")


def _limits(extras: tuple[Any, ...]) -> str:
    """What the metadata of an annotation adds: its description, or `≥ 0 and < 1`."""
    for extra in extras:
        if isinstance(extra, FieldInfo) and extra.description:
            return extra.description
    constraints = [c for extra in extras for c in getattr(extra, "metadata", [extra])]
    limits = [(s, getattr(c, name, None)) for c in constraints for name, s in SIGNS.items()]
    return " and ".join(f"{sign} {limit}" for sign, limit in limits if limit is not None)
