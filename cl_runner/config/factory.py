"""Calls that the nodes of the settings describe, checked before and after they are made."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from cl_runner.config.annotations import named
from cl_runner.errors import ConfigError, first_line

PLAIN = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)
"""How values are validated: nothing is converted."""
Built = TypeVar("Built")


@dataclass(frozen=True)
class Factory(Generic[Built]):
    """A validated call that waits for what the run gives it."""

    key: str
    target: Callable[..., Any]
    settings: dict[str, Any]
    product: Any  # the class or protocol of what it builds; Any: anything

    def __call__(self, *given: Any) -> Built:
        """Raises ConfigError if it cannot be built from these settings, or is something else."""
        try:
            inspect.signature(self.target).bind(*given, **self.settings)
        except TypeError as error:
            allowed = f"does not accept what the run passes to it ({first_line(error)})"
            raise ConfigError.of(self.key, path_of(self.target), allowed) from None
        try:
            built: Built = self.target(*given, **self.settings)
        except ConfigError as error:
            raise error.under(self.key) from None
        except (RuntimeError, OverflowError, ValueError, AssertionError) as error:
            allowed = f"cannot be built: {first_line(error)}"
            raise ConfigError.of(self.key, path_of(self.target), allowed) from None
        refuse_other(self.key, self.target, built, self.product)
        return built

    def conventions(self) -> dict[str, Any]:
        """The settings that choose a formula, not a number: those with named values."""
        hints = hints_of(self.target, self.key)
        chosen = {k: v for k, v in self.settings.items() if named(hints.get(k))}
        return {f"{self.key}.{name}": value for name, value in chosen.items()}


def path_of(target: Callable[..., Any]) -> str:
    return f"{target.__module__}.{target.__qualname__}"


def hints_of(target: Callable[..., Any], key: str) -> dict[str, Any]:
    """The annotations of its parameters. Raises ConfigError if they cannot be read."""
    try:
        return get_type_hints(
            target.__init__ if inspect.isclass(target) else target, None, None, True
        )
    except (NameError, TypeError, SyntaxError, AttributeError) as error:
        allowed = f"has annotations that cannot be read ({first_line(error)})"
        raise ConfigError.of(key, path_of(target), allowed) from None


def refuse_other(key: str, target: Callable[..., Any], found: Any, wanted: Any) -> None:
    """Raise ConfigError unless what this target builds, or the class of it, is what is wanted."""
    lacking = "" if wanted is Any else _lacking(found, wanted)
    if lacking:
        raise ConfigError.of(key, path_of(target), lacking)


def _lacking(found: Any, kind: Any) -> str:
    """What an object or a class lacks to be of this kind, in words; empty for nothing."""
    name = f"is not a {kind.__name__} ({kind.__module__})"
    if inspect.isabstract(found):
        return f"is abstract and lacks {', '.join(sorted(found.__abstractmethods__))}"
    if not getattr(kind, "_is_protocol", False):
        fits = issubclass(found, kind) if inspect.isclass(found) else isinstance(found, kind)
        return "" if fits else name
    for method, wanted in vars(kind).items():
        if inspect.isfunction(wanted) and not method.startswith("_"):
            has = getattr(found, method, None)
            if not callable(has):
                return f"{name}: it has no {method}()"
            if not inspect.isclass(found) and not _takes(has, wanted):
                return f"{name}: its {method}() must take {_parameters(wanted)}"
    if not inspect.isclass(found):  # those of a class may be set when it is called
        for attribute, hint in get_type_hints(kind).items():
            value = getattr(found, attribute, None)
            try:
                TypeAdapter(hint, config=PLAIN).validate_python(value)
            except ValidationError:
                return f"{name}: its {attribute} is {value!r}"
    return ""


def _takes(method: Callable[..., Any], wanted: Callable[..., Any]) -> bool:
    """Whether it can be called as the method of the protocol is."""
    parameters = list(inspect.signature(wanted).parameters.values())[1:]
    named = {p.name: None for p in parameters if p.kind is p.KEYWORD_ONLY}
    try:
        inspect.signature(method).bind(*[None] * (len(parameters) - len(named)), **named)
    except TypeError:
        return False
    return True


def _parameters(wanted: Callable[..., Any]) -> str:
    return ", ".join(list(inspect.signature(wanted).parameters)[1:])
