"""What a target declares. Ours is read from its source, as importing it would load torch, which
takes seconds; a test holds that both say the same. A target of a trusted package, whose source can
have any form, is imported.
"""

from __future__ import annotations

import ast
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from inspect import cleandoc
from pathlib import Path
from typing import Any

from cl_runner.config.paths import HERE
from cl_runner.config.targets import known
from cl_runner.errors import ConfigError

LIGHT = ("cl_runner.config", "pydantic", "typing_extensions")
"""Besides the standard library, what is imported to read an annotation."""


@dataclass(frozen=True)
class Signature:
    """The docstring of a class or function, and the annotation of each of its settings."""

    doc: str
    hints: dict[str, Any]


def signature(path: str) -> Signature | None:
    """Of the target at this dotted path; None if it is not there, or neither ours nor trusted."""
    return _read(path) if path.startswith(f"{HERE.name}.") else _imported_signature(path)


def _imported_signature(path: str) -> Signature | None:
    from cl_runner.config.build import parameters
    from cl_runner.config.factory import hints_of

    declared = known(path)
    if declared is None:
        return None
    hints: dict[str, Any] = {}
    with suppress(ConfigError):  # a run would say so
        every = hints_of(declared, "")
        hints = {name: every[name] for name in parameters(declared) if name in every}
    return Signature(cleandoc(declared.__doc__ or ""), hints)


@cache
def _read(path: str) -> Signature | None:
    module, _, name = path.rpartition(".")
    try:
        names = _names(module)
    except ModuleNotFoundError:
        return None
    node = names.declared.get(name)
    if not isinstance(node, ast.ClassDef | ast.FunctionDef):
        return None
    hints = {name: names.value(hint) for name, hint in _settings(node)}
    return Signature(ast.get_docstring(node) or "", hints)


def _settings(node: ast.ClassDef | ast.FunctionDef) -> list[tuple[str, ast.expr]]:
    """The keyword-only parameters of a function or class, with their annotations. Of a dataclass,
    the fields without a default, as no setting has one."""
    if isinstance(node, ast.FunctionDef):
        return [(a.arg, a.annotation) for a in node.args.kwonlyargs if a.annotation is not None]
    for inner in node.body:
        if isinstance(inner, ast.FunctionDef) and inner.name == "__init__":
            return _settings(inner)
    fields = [n for n in node.body if isinstance(n, ast.AnnAssign) and n.value is None]
    return [(f.target.id, f.annotation) for f in fields if isinstance(f.target, ast.Name)]


@cache
def _names(module: str) -> _Names:
    return _Names(module)


class _Names(dict[str, Any]):
    """The names of a module, each with what an annotation needs to know of it.

    A class is replaced by an empty one with its name: its annotation says no more.
    """

    def __init__(self, module: str) -> None:
        spec = find_spec(module)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(module)
        self.module, self.declared = module, dict[str, ast.stmt]()
        for node in ast.parse(Path(spec.origin).read_text("utf-8")).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                self.declared |= {a.asname or a.name.split(".")[0]: node for a in node.names}
            elif isinstance(node, ast.ClassDef | ast.FunctionDef):
                self.declared[node.name] = node
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                self.declared |= {t.id: node for t in targets if isinstance(t, ast.Name)}

    def value(self, expression: ast.expr) -> Any:
        """What an expression of this module evaluates to."""
        return eval(compile(ast.Expression(expression), self.module, "eval"), {}, self)

    def __missing__(self, name: str) -> Any:
        node = self.declared[name]  # a KeyError: a name of Python itself
        if isinstance(node, ast.ImportFrom):
            original = next(a.name for a in node.names if name in (a.asname, a.name))
            return _imported(str(node.module), original)
        if isinstance(node, ast.Import):
            return _Foreign(name)
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            return self.value(node.value)
        return _empty(name, self.module)


def _imported(module: str, name: str) -> Any:
    package = module.partition(".")[0]
    if package in sys.stdlib_module_names or module.startswith(LIGHT):
        return getattr(import_module(module), name)
    return _names(module)[name] if package == HERE.name else _empty(name, module)


def _empty(name: str, module: str) -> type:
    return type(name, (), {"__module__": module})


class _Foreign:
    """A module whose attributes are empty classes or such modules."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return _empty(name, self._name) if name[:1].isupper() else _Foreign(f"{self._name}.{name}")
