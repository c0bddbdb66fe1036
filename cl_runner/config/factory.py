"""The calls that nodes of the settings describe, checked before and after they are made."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from cl_runner.config.annotations import named
from cl_runner.errors import ConfigError, first_line

STRICT = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)
"""How values are validated: none is converted to another type."""
Built = TypeVar("Built")


@dataclass(frozen=True)
class Factory(Generic[Built]):
    """A validated call that still lacks the arguments that the run passes by position."""

    key: str
    target: Callable[..., Any]
    settings: dict[str, Any]
    product: Any  # the class or protocol of what it builds; Any: anything

    def __call__(self, *given: Any) -> Built:
        """Make the call. Raises ConfigError if it fails or does not build a `product`."""
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
        """The settings with named values: they choose a formula, not a number."""
        hints = hints_of(self.target, self.key)
        return {f"{self.key}.{k}": v for k, v in self.settings.items() if named(hints.get(k))}


def path_of(target: Callable[..., Any]) -> str:
    return f"{target.__module__}.{target.__qualname__}"


def hints_of(target: Callable[..., Any], key: str) -> dict[str, Any]:
    """The annotations of a target's parameters. Raises ConfigError if they cannot be read.

    key: of its node.
    """
    function = target.__init__ if inspect.isclass(target) else target
    try:
        return get_type_hints(function, include_extras=True)
    except (NameError, TypeError, SyntaxError, AttributeError) as error:
        allowed = f"has annotations that cannot be read ({first_line(error)})"
        raise ConfigError.of(key, path_of(target), allowed) from None


def refuse_other(key: str, target: Callable[..., Any], candidate: Any, wanted: Any) -> None:
    """Raise ConfigError unless what this target builds is what is wanted.

    candidate: the object, or its class before it is built; wanted: a class, a protocol or Any.
    """
    lacking = "" if wanted is Any else _lacking(candidate, wanted)
    if lacking:
        raise ConfigError.of(key, path_of(target), lacking)


def _lacking(candidate: Any, kind: Any) -> str:
    """In words, why an object or a class is not of this kind; empty if it is."""
    name, is_class = f"is not a {kind.__name__} ({kind.__module__})", inspect.isclass(candidate)
    if inspect.isabstract(candidate):
        return f"is abstract and lacks {', '.join(sorted(candidate.__abstractmethods__))}"
    if not getattr(kind, "_is_protocol", False):
        fits = issubclass(candidate, kind) if is_class else isinstance(candidate, kind)
        return "" if fits else name
    for method, wanted in vars(kind).items():
        if inspect.isfunction(wanted) and not method.startswith("_"):
            has = getattr(candidate, method, None)
            if not callable(has):
                return f"{name}: it has no {method}()"
            if not is_class and not _takes(has, wanted):
                names = list(inspect.signature(wanted).parameters)[1:]
                return f"{name}: its {method}() must take {', '.join(names)}"
    if not is_class:  # a class may set its attributes when it is called
        for attribute, hint in get_type_hints(kind).items():
            value = getattr(candidate, attribute, None)
            try:
                TypeAdapter(hint, config=STRICT).validate_python(value)
            except ValidationError:
                return f"{name}: its {attribute} is {value!r}"
    return ""


def _takes(method: Callable[..., Any], wanted: Callable[..., Any]) -> bool:
    """Whether a method can be called like the one of the protocol."""
    parameters = list(inspect.signature(wanted).parameters.values())[1:]
    named = {p.name: None for p in parameters if p.kind is p.KEYWORD_ONLY}
    try:
        inspect.signature(method).bind(*[None] * (len(parameters) - len(named)), **named)
    except TypeError:
        return False
    return True
