"""What a `_target_` may name: only classes and functions that are declared to be targets.

A configuration may come from someone else, and what it names is called. So it cannot name a
function that starts processes, or a command of this package.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable
from importlib import import_module
from typing import Any, TypeVar

from cl_runner.errors import ConfigError, why_not_imported
from cl_runner.plugins import installed
from cl_runner.plugins import trusted as plugins

T = TypeVar("T", bound=Callable[..., Any])
_DECLARED: set[Callable[..., Any]] = set()
TRUSTED = {"cl_runner"}
"""Packages that may be imported when a configuration names them, besides trusted plugins."""


def target(declared: T) -> T:
    """Declare a function, or a class with all its subclasses, to be a target: `@target`."""
    _DECLARED.add(declared)
    return declared


def is_target(candidate: Callable[..., Any]) -> bool:
    """Whether it, or a class that it is derived from, is declared."""
    lineage = candidate.__mro__ if isinstance(candidate, type) else [candidate]
    return not _DECLARED.isdisjoint(lineage)


def trust(packages: Iterable[str]) -> None:
    """Let these packages be imported in this process, as the command line asks."""
    TRUSTED.update(packages)


def find(path: str, key: str, trusted: Collection[str]) -> Callable[..., Any]:
    """The target at this dotted path. key: the setting that names it.

    Raises ConfigError unless its package is trusted and it is declared to be a target.
    """
    package, _, _ = path.partition(".")
    if package not in trusted:
        could_be = package.isidentifier() and len(package) <= 80
        hint = f"if you trust it, add trusted_targets=[{package}] to the command line"
        if plugin := next((p for p in installed.every() if p.package == package), None):
            hint = f"if you trust this plugin: cl-train --trust {plugin.name}"
        allowed = f"only targets of {', '.join(trusted)} are built"
        raise ConfigError.of(key, path, allowed, hint if could_be else "")
    module, _, name = path.rpartition(".")
    try:
        target = getattr(import_module(module), name)
    except (Exception, SystemExit) as error:  # the module can raise anything
        raise ConfigError.of(key, path, f"cannot be imported ({why_not_imported(error)})") from None
    if not (inspect.isclass(target) or inspect.isfunction(target)):
        raise ConfigError.of(key, path, "is neither a class nor a function")
    if target.__module__.partition(".")[0] not in trusted:  # imported there from elsewhere
        raise ConfigError.of(key, path, f"belongs to {target.__module__}, which is not trusted")
    if not is_target(target):
        how = "decorate it with @target (from cl_runner.config.targets import target)"
        raise ConfigError.of(key, path, "is not declared as a target", f"if it is yours, {how}")
    return target


def known(path: str) -> Callable[..., Any] | None:
    """The target at this dotted path, to read its annotations; None if it is not trusted, not a
    target or cannot be imported, for whatever reason."""
    package = path.partition(".")[0]
    try:
        trusted = TRUSTED if package == "cl_runner" else {*TRUSTED, *plugins.packages()}
        return find(path, "", trusted) if package in trusted else None
    except (Exception, SystemExit):  # a user's own module can raise anything
        return None
