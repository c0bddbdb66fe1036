"""Type annotations as the schema of settings: what they allow, in plain words and one by one."""

from __future__ import annotations

import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from cl_runner.config.setting_types import Traits


def options(hint: Any) -> list[Any]:
    """The alternatives of a union, each with its limits."""
    if get_origin(hint) is Annotated and all(isinstance(e, Traits) for e in hint.__metadata__):
        return options(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return [option for argument in get_args(hint) for option in options(argument)]
    return [hint]


def kind(option: Any) -> Any:
    """The class that a node with a `_target_` must build here, `Part[...]` for what is called
    later; None for plain values such as numbers."""
    bare = _bare(option)
    found = get_origin(bare) or bare
    plain = ("builtins", "typing", "types", "collections.abc")
    return bare if isinstance(found, type) and found.__module__ not in plain else None


def items(option: Any) -> Any:
    """Of a list of nodes what each of them is; else None."""
    bare = _bare(option)
    if get_origin(bare) is list and any(kind(item) for item in options(get_args(bare)[0])):
        return get_args(bare)[0]
    return None


def named(hint: Any) -> bool:
    """Whether its values have names: they choose a formula, not a number."""
    return options(hint) == [bool] or any(get_origin(o) is Literal for o in options(hint))


def allowed(hint: Any) -> str:
    """A type annotation in plain words: `a number ≥ 0`, `one of all, seen, new`."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        told = [extra.description for extra in arguments[1:] if isinstance(extra, FieldInfo)]
        if any(told):
            return f"{allowed(arguments[0])} {told[-1]}"
        limits = [_limit(m) for extra in arguments[1:] for m in _metadata(extra)]
        return f"{allowed(arguments[0])} {' and '.join(filter(None, limits))}".rstrip()
    if origin in (Union, types.UnionType):
        return " or ".join(allowed(argument) for argument in arguments)
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin is list:
        return f"a list, each {allowed(arguments[0])}"
    if (wanted := kind(hint)) is not None:
        return f"a node with a _target_ that builds a {(get_args(wanted) or [wanted])[0].__name__}"
    names = {float: "a number", int: "an integer", bool: "true or false", str: "a text"}
    return names.get(hint, "null" if hint is type(None) else f"of type {hint}")


def _bare(option: Any) -> Any:
    return get_args(option)[0] if get_origin(option) is Annotated else option


def _metadata(extra: Any) -> list[Any]:
    return list(extra.metadata) if isinstance(extra, FieldInfo) else [extra]


def _limit(constraint: Any) -> str:
    words = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    for attribute, word in words.items():
        limit = getattr(constraint, attribute, None)
        if limit is not None:
            return f"{word} {limit}"
    return ""
