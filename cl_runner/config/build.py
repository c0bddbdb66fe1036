"""From YAML nodes to validated objects. Every mistake of a user becomes one line.

A node with `_target_` is a call: its other keys are the keyword-only parameters of the target,
whose annotations are the schema. A target that also has positional parameters, which the run
fills in (a network, the parameters to optimise), becomes a `Factory`, to be called later.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import reduce
from importlib import import_module
from operator import or_
from typing import Any, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from cl_runner.config.annotations import allowed, items, kind, options
from cl_runner.config.factory import PLAIN, Factory, hints_of, path_of, refuse_other
from cl_runner.config.targets import is_target
from cl_runner.errors import MISSING, ConfigError, Problem, first_line, nearest


def _build(node: Mapping[str, Any], key: str, kinds: list[Any], trusted: list[str]) -> Any:
    """Call what the node describes, or make it a Factory if the run has to add something.

    kinds: of which it must be one; empty: anything."""
    target = _find(str(node["_target_"]), _join(key, "_target_"), trusted)
    parameters = inspect.signature(target).parameters.values()
    is_factory = any(p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for p in parameters)
    products = [get_args(k)[0] if get_origin(k) is Factory else k for k in kinds]
    hints = hints_of(target, key)
    result = target if inspect.isclass(target) else hints.get("return")
    if inspect.isclass(result):  # before all else: its settings are of no use if it is not
        refuse_other(key, target, result, products)
    if kinds and is_factory != (get_origin(kinds[0]) is Factory):
        allowed = "must take what the run gives it, such as the network, by position, and settings"
        allowed = f"{allowed} by keyword" if not is_factory else "takes settings by keyword alone"
        raise ConfigError.of(key, path_of(target), allowed)
    wanted = [p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
    given = {name: value for name, value in node.items() if name != "_target_"}
    values = _values(given, hints, wanted, key, trusted)
    factory: Factory[Any] = Factory(key, target, values, products)
    return factory if is_factory else factory()


def _values(
    given: Mapping[str, Any],
    hints: Mapping[str, Any],
    wanted: list[str],
    key: str,
    trusted: list[str],
) -> dict[str, Any]:
    """All settings of a node. Raises ConfigError with every problem."""
    problems = [_unknown(name, wanted, key, given[name]) for name in given if name not in wanted]
    values: dict[str, Any] = {}
    for name in wanted:
        if name not in given:
            problems.append(Problem(_join(key, name), MISSING, "is missing, give it a value"))
            continue
        try:
            values[name] = _value(given[name], hints.get(name, Any), _join(key, name), trusted)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(*problems)
    return values


def _value(value: Any, hint: Any, key: str, trusted: list[str]) -> Any:
    """One setting: a nested call, a list of them, or a plain value of the annotated type."""
    kinds = [kind(option) for option in options(hint) if kind(option) is not None]
    lists = [items(option) for option in options(hint) if items(option) is not None]
    if isinstance(value, Mapping) and "_target_" in value and (kinds or hint is Any):
        return _build(value, key, kinds, trusted)
    if isinstance(value, list) and value and lists:
        return [_value(item, lists[0], f"{key}[{i}]", trusted) for i, item in enumerate(value)]
    plain = [o for o in options(hint) if kind(o) is None and items(o) is None]
    try:
        if plain:
            return TypeAdapter(reduce(or_, plain), config=PLAIN).validate_python(value)
    except ValidationError:
        pass
    raise ConfigError.of(key, value, f"must be {allowed(hint)}")


def _find(path: str, key: str, trusted: list[str]) -> Callable[..., Any]:
    """The class or function at this dotted path, if its package is trusted and it is declared to be
    a target."""
    package, _, _ = path.partition(".")
    if package not in trusted:
        could_be = package.isidentifier() and len(package) <= 80
        hint = f"if you trust it, add trusted_targets=[{package}] to the command line"
        allowed = f"only targets of {', '.join(trusted)} are built"
        raise ConfigError.of(key, path, allowed, hint if could_be else "")
    module, _, name = path.rpartition(".")
    try:
        target = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError.of(key, path, f"cannot be imported ({first_line(error)})") from None
    if not (inspect.isclass(target) or inspect.isfunction(target)):
        raise ConfigError.of(key, path, "is neither a class nor a function")
    if target.__module__.partition(".")[0] not in trusted:  # imported there from elsewhere
        raise ConfigError.of(key, path, f"is of {target.__module__}, which is not trusted")
    if not is_target(target):
        hint = "if it is yours, put @target above it (from cl_runner.config.targets import target)"
        raise ConfigError.of(key, path, "is not declared to be a target", hint)
    return target


def _unknown(name: str, wanted: list[str], key: str, value: Any) -> Problem:
    return Problem(_join(key, name), value, f"no such setting{_below(key)}", nearest(name, wanted))


def _below(key: str) -> str:
    return f" of {key}" if key else ""


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name
