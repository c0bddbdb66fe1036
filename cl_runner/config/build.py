"""From YAML nodes to validated objects; every mistake becomes one line.

A node with `_target_` is a call: its other keys are the keyword-only parameters of the target,
whose annotations are made into a pydantic model. A target that also has positional parameters,
which the run fills in (a network, the parameters to optimise), becomes a `Factory`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial, reduce
from operator import or_
from typing import Annotated, Any, Literal, cast, get_args, get_origin

from pydantic import PlainValidator, TypeAdapter, ValidationError, ValidationInfo, with_config
from pydantic_core import ErrorDetails
from typing_extensions import TypedDict

from cl_runner.config.annotations import UNIONS, allowed, is_node
from cl_runner.config.factory import STRICT, Factory, hints_of, path_of, refuse_other
from cl_runner.config.targets import find
from cl_runner.errors import MISSING, ConfigError, Problem, nearest


def settings_of(
    target: Callable[..., Any], given: Mapping[str, Any], key: str, trusted: Sequence[str]
) -> dict[str, Any]:
    """The validated settings of a target, with the nodes below them built.

    key: where their node stands, empty at the root; trusted: packages that may be imported.
    Raises ConfigError with every problem.
    """
    form = _form(target, key)
    try:
        return form.validate_python(given, context=(key, trusted))
    except ValidationError as error:
        problems = [p for e in error.errors() for p in _problems(e, given, target, key)]
        raise ConfigError(*{problem.key: problem for problem in problems}.values()) from None


def parameters(target: Callable[..., Any]) -> list[str]:
    """The names of a target's settings: its keyword-only parameters."""
    declared = inspect.signature(target).parameters.values()
    return [p.name for p in declared if p.kind is p.KEYWORD_ONLY]


def _build(node: Mapping[str, Any], wanted: Any, key: str, trusted: Sequence[str]) -> Any:
    """Call what the node describes, or make it a Factory if the run has to pass something.

    wanted: the annotation that the result must fit.
    """
    target = find(str(node["_target_"]), f"{key}._target_", trusted)
    declared = inspect.signature(target).parameters.values()
    is_factory = any(p.kind is p.POSITIONAL_OR_KEYWORD for p in declared)
    product = get_args(wanted)[0] if get_origin(wanted) is Factory else wanted
    result = target if inspect.isclass(target) else hints_of(target, key).get("return")
    if inspect.isclass(result):  # first: of a wrong class the settings do not matter
        refuse_other(key, target, result, product)
    if wanted is not Any and is_factory != (get_origin(wanted) is Factory):
        passed = "what the run passes to it, such as the network, by position"
        others = "nothing else" if is_factory else passed
        must = f"must take its settings by keyword and {others}"
        raise ConfigError.of(key, path_of(target), must)
    given = {name: value for name, value in node.items() if name != "_target_"}
    settings = settings_of(target, given, key, trusted)
    factory: Factory[Any] = Factory(key, target, settings, product)
    return factory if is_factory else factory()


@cache
def _form(target: Callable[..., Any], key: str) -> TypeAdapter[dict[str, Any]]:
    """A target's settings as a pydantic model: all are required, no others are allowed."""
    hints = hints_of(target, key)
    fields = {name: _with_nodes(hints.get(name, Any)) for name in parameters(target)}
    form = cast(Any, TypedDict)("form", fields)  # mypy accepts only literal fields
    return TypeAdapter(with_config({**STRICT, "extra": "forbid"})(form))


def _with_nodes(hint: Any) -> Any:
    """The annotation with each class replaced by a node with a `_target_` that builds it."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any or is_node(hint):
        return Annotated[Any, PlainValidator(partial(_from_node, hint))]
    if origin is Annotated:
        return Annotated[(_with_nodes(arguments[0]), *arguments[1:])]
    if origin in UNIONS:
        return reduce(or_, map(_with_nodes, arguments))
    return hint if origin in (None, Literal) else origin[tuple(map(_with_nodes, arguments))]


def _from_node(wanted: Any, value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, Mapping) and "_target_" in value:
        key, trusted = info.context  # type: ignore[misc]
        return _build(value, wanted, _join(key, str(info.field_name)), trusted)
    if wanted is Any:
        return value
    raise ValueError(allowed(wanted))


def _problems(
    error: ErrorDetails, given: Mapping[str, Any], target: Callable[..., Any], key: str
) -> Iterator[Problem]:
    """One of pydantic's errors in our words."""
    name, *inner = error["loc"]
    name = str(name)
    at, below = _join(key, name), error.get("ctx", {}).get("error")
    index = f"[{inner[0]}]" if inner and isinstance(inner[0], int) else ""
    if isinstance(below, ConfigError):
        yield from (replace(p, key=at + index + p.key[len(at) :]) for p in below.problems)
    elif error["type"] == "value_error" and index:  # one item of a list of nodes
        yield Problem(at + index, error["input"], f"must be {below}")
    elif error["type"] == "missing":
        yield Problem(at, MISSING, "is missing; give it a value")
    elif error["type"] == "extra_forbidden":
        what = f"no such setting of {key}" if key else "no such setting"
        yield Problem(at, given[name], what, nearest(name, parameters(target)))
    else:
        value = given[name]
        number = error["type"] == "string_type" and isinstance(value, int | float)
        hint = f"""in quotes it is text: {at}="'{value}'\"""" if number else ""
        yield Problem(at, value, f"must be {allowed(hints_of(target, key)[name])}", hint)


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name
