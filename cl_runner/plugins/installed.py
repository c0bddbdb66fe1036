"""Plugins among the installed packages, found without importing any.

A plugin declares an entry point in the group `cl_runner.plugins`, whose value is its package:

    [project.entry-points."cl_runner.plugins"]
    mine = "mine"

By convention the package has `conf/` (options, by group), `metrics.py` (functions with `@metric`)
and `suites/` (YAML files).
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib import metadata

GROUP = "cl_runner.plugins"


@dataclass(frozen=True)
class Plugin:
    """An entry point, and the package that it names."""

    name: str
    distribution: str  # what was installed; with the name, what is trusted
    version: str
    package: str

    @cached_property
    def folder(self) -> Path | None:
        """Where the package is; None if its entry point names none that is there."""
        try:  # of a name without a dot nothing is imported
            spec = find_spec(self.package) if self.package.isidentifier() else None
        except (ImportError, ValueError):
            return None
        places = [*map(Path, spec.submodule_search_locations or ())] if spec is not None else []
        if spec is not None and spec.origin is None:  # any folder of that name, such as a project's
            places = [place for place in places if _brings_something(place)]
        return places[0] if places else None

    @property
    def conf(self) -> Path | None:
        """Its folder of options, if it has one."""
        return self._inside("conf")

    @property
    def options(self) -> list[tuple[str, str]]:
        """The group and the name of each of its options."""
        files = sorted(self.conf.rglob("*.yaml")) if self.conf else []
        found = [file.relative_to(self.conf).with_suffix("") for file in files]  # type: ignore[arg-type]
        return [(str(f.parent), f.name) for f in found if str(f.parent) != "."]

    @property
    def suites(self) -> dict[str, Path]:
        """The files of its suites, by name."""
        folder = self._inside("suites")
        return {file.stem: file for file in sorted(folder.glob("*.yaml"))} if folder else {}

    @property
    def metrics(self) -> list[str]:
        """The names of the functions in `metrics.py` that are decorated with `@metric(...)`."""
        file = metrics_in(self.folder)
        if file is None:
            return []
        try:
            body = ast.parse(file.read_bytes()).body
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # not, or not yet, Python
            return []
        functions = [node for node in body if isinstance(node, ast.FunctionDef)]
        return [f.name for f in functions if any(map(_is_metric, f.decorator_list))]

    def _inside(self, name: str) -> Path | None:
        place = self.folder and self.folder / name
        return place if place and place.is_dir() else None


def _brings_something(folder: Path) -> bool:
    return any((folder / name).is_dir() for name in ("conf", "suites")) or bool(metrics_in(folder))


def metrics_in(folder: Path | None) -> Path | None:
    """The file of the module `metrics` of the package in this folder; None if it has none."""
    if folder is None:
        return None
    files = folder / "metrics" / "__init__.py", folder / "metrics.py"
    return next(filter(Path.is_file, files), None)


def every() -> list[Plugin]:
    """All that are installed, by name. Reads what all installed packages declare. Of a package that
    is there in several versions, the first on the path counts, which is the one that is used."""
    from importlib import metadata  # slow, and nothing where no plugin is trusted

    found: dict[tuple[str, str], Plugin] = {}
    for each in metadata.distributions():
        for plugin in _declared(each):
            found.setdefault((plugin.name, plugin.distribution), plugin)
    return [found[key] for key in sorted(found)]


def find(name: str, distribution: str) -> Plugin | None:
    """The one with this name in this installed package, of which alone the files are read."""
    from importlib import metadata

    try:
        declared = _declared(metadata.distribution(distribution))
    except (metadata.PackageNotFoundError, ValueError):
        return None
    return next((plugin for plugin in declared if plugin.name == name), None)


def offering(group: str, option: str) -> Plugin | None:
    """One with this option."""
    return next((plugin for plugin in every() if (group, option) in plugin.options), None)


def _declared(by: metadata.Distribution) -> list[Plugin]:
    """The plugins of an installed package; none if its files are damaged, whatever they contain: a
    user's mistyped option is looked for in all packages, also in those that have no plugin."""
    try:
        entries = [entry for entry in by.entry_points if entry.group == GROUP]
        return [Plugin(e.name, _same(by.name), str(by.version), e.value.strip()) for e in entries]
    except Exception:  # nobody can list what a damaged file leads to
        return []


def _same(distribution: str) -> str:
    """One spelling of the name of an installed package, as packages are compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _is_metric(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return getattr(called, "id", getattr(called, "attr", "")) == "metric"
