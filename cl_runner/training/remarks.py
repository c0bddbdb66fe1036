"""What a run says before its first step: settings that are allowed, but perhaps not meant."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from difflib import get_close_matches

from cl_runner.strategies.strategy import Strategy

log = logging.getLogger("cl_runner")
HOOKS = [
    name for name in vars(Strategy) if inspect.isfunction(vars(Strategy)[name]) and name[0] != "_"
]


def say(strategy: Strategy) -> None:
    """Log the remarks on this run."""
    for method, hook in _misspelt_hooks(type(strategy)):
        name, what = type(strategy).__name__, "is no hook, so cl-runner does not call it"
        log.warning("strategy %s: method %s %s. Hint: did you mean %s?", name, method, what, hook)


def _misspelt_hooks(strategy: type[Strategy]) -> Iterator[tuple[str, str]]:
    """The public methods of classes from elsewhere that have nearly the name of a hook, with that
    hook. Not those that the classes mention themselves, or that replace a method of another."""
    bases = strategy.__mro__
    own = [c for c in bases if c.__module__.partition(".")[0] not in ("cl_runner", "torch")]
    others = [c for c in bases if c not in own]
    methods = {
        name: value for c in own for name, value in vars(c).items() if inspect.isfunction(value)
    }
    mentioned = {name for method in methods.values() for name in method.__code__.co_names}
    for name in methods:
        if name[0] == "_" or name in mentioned or any(hasattr(c, name) for c in others):
            continue
        for hook in get_close_matches(name, HOOKS, n=1):
            yield name, hook
