"""What a run says before its first step: settings that are allowed, but perhaps not meant."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from types import CodeType

from cl_runner.config.factory import Factory
from cl_runner.data.stream import Outline
from cl_runner.models.network import Network
from cl_runner.strategies.closed_form import ClosedForm
from cl_runner.strategies.strategy import Strategy
from cl_runner.training.settings import Settings

log = logging.getLogger("cl_runner")
HOOKS = [
    name for name in vars(Strategy) if inspect.isfunction(vars(Strategy)[name]) and name[0] != "_"
]
CODE_OF = ("__code__", "__wrapped__", "__func__", "fget", "func")
"""Where functions, decorated ones, class methods and properties have it."""


def say(strategy: Strategy, name: str, settings: Settings, outline: Outline) -> None:
    """Log the remarks on this run. name: of its strategy, among the options."""
    if left_out := outline.left_out:
        classes = sum(map(len, outline.labels)) + left_out
        verb = "is" if left_out == 1 else "are"
        log.info("%d of the data set's %d classes %s in no task", left_out, classes, verb)
    if isinstance(strategy, ClosedForm) and _is_untrained(strategy.network, settings, outline):
        what = "does not train the body, and no weights were loaded: its features are random"
        hint = "model.weights=FILE, or model=torchvision model.weights=DEFAULT"
        log.warning("strategy %s %s. Hint: %s", name, what, hint)
    for method, hook in _misspelt_hooks(type(strategy)):
        own, what = type(strategy).__name__, "is no hook, so cl-runner does not call it"
        log.warning("strategy %s: method %s %s. Hint: did you mean %s?", own, method, what, hook)


def _is_untrained(network: Network, settings: Settings, outline: Outline) -> bool:
    """Whether its body is as random as it was drawn. A user's own may have loaded weights."""
    given = settings.model.settings
    body = given.get("body")
    built_by = body.target if isinstance(body, Factory) else settings.model.target
    is_own = not _is_from(built_by, "cl_runner")
    has_weights = any(True for _ in network.body.parameters())
    return has_weights and not (is_own or outline.features or given.get("weights"))


def _misspelt_hooks(strategy: type[Strategy]) -> Iterator[tuple[str, str]]:
    """The public methods of classes from elsewhere that have nearly the name of a hook, with that
    hook. Not those that the classes mention themselves, or that replace a method of another."""
    bases = strategy.__mro__
    own = [c for c in bases if not _is_from(c, "cl_runner", "torch")]
    others = [c for c in bases if c not in own]
    methods = {
        name: value for c in own for name, value in vars(c).items() if inspect.isfunction(value)
    }
    mentioned = {name for c in own for value in vars(c).values() for name in _names_in(value)}
    for name in methods:
        if name[0] == "_" or name in mentioned or any(hasattr(c, name) for c in others):
            continue
        for hook in get_close_matches(name, HOOKS, n=1):
            yield name, hook


def _names_in(part: object) -> Iterator[str]:
    """What a part of a class mentions: a method, also a decorated one, or a property, with the
    lambdas and comprehensions in it."""
    if isinstance(part, CodeType):
        yield from part.co_names
        inner: Iterable[object] = part.co_consts
    elif type(part).__module__ in ("builtins", "functools"):  # another may answer to any name
        inner = (getattr(part, key, None) for key in CODE_OF)
    else:
        return
    for each in inner:
        if each is not None:
            yield from _names_in(each)


def _is_from(made: Callable[..., object], *packages: str) -> bool:
    return made.__module__.partition(".")[0] in packages
