"""The user's own code that the settings of a run name: its files, and the digest of them."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from cl_runner.config.paths import HERE
from cl_runner.config.traits import Config, targets_below, traits
from cl_runner.plugins.installed import metrics_in


def own_code(config: Config) -> list[Path]:
    """The Python files of the user's packages that the settings name, and of what they import from
    the same folder."""
    return sorted({file for name in _named(config) for file in _files(name)})


def digests(config: Config) -> dict[str, str]:
    """The digest of each of these packages that can change results. Empty for a run that uses none
    of the user's."""
    return {name: digest(name) for name in sorted(names_of(config)) if _files(name)}


def names_of(config: Config) -> set[str]:
    """The packages and modules of the user's that can change results: not those of a tracker."""
    return _named(config, only_of_results=True)


def digest(name: str) -> str:
    """The SHA-256 of a package's code, without its metrics: whoever reads a run computes those."""
    return digest_of_files(sorted(_files(name) - {*map(metrics_in, _places(name))}))


def digest_of_files(files: Sequence[Path]) -> str:
    """SHA-256 of their contents, one after another."""
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _named(config: Config, only_of_results: bool = False) -> set[str]:
    """The packages and modules of the user's that the settings name."""
    return {
        str(path).partition(".")[0]
        for key, path in targets_below("", config)
        if not only_of_results or traits(key.lstrip("."), config).changes_results
    } - {HERE.name}


def _places(name: str) -> list[Path]:
    """The folders of a package, or the file of a module, if it is imported."""
    module = sys.modules.get(name)
    folders = [Path(folder) for folder in getattr(module, "__path__", ())]
    file = getattr(module, "__file__", None)
    return folders or ([Path(file)] if file else [])


def _files(name: str) -> set[Path]:
    """Those of a package or module that is imported, and of what they import beside it. What
    happens to be imported by others does not count: the same code has the same files."""
    files: set[Path] = set()
    waiting = _places(name)
    while waiting:
        place = waiting.pop()
        new = {f for f in place.rglob("*.py") if f.is_file()} if place.is_dir() else {place}
        if new <= files:
            continue
        files |= new
        if "site-packages" not in place.parts:
            for imported in {name for file in new for name in _imports(file)} - {HERE.name}:
                beside = place.parent / imported
                waiting += [p for p in (beside, beside.with_name(f"{imported}.py")) if _is_code(p)]
    return files


def _is_code(place: Path) -> bool:
    """Whether it is a module or a package, and no folder of data."""
    return (place.suffix == ".py" and place.is_file()) or any(place.glob("*.py"))


def _imports(file: Path) -> Iterator[str]:
    """The packages and modules that a file imports by their whole names, anywhere in it."""
    try:
        nodes = [*ast.walk(ast.parse(file.read_bytes()))]
    except (SyntaxError, ValueError):  # it has no part in a run
        return
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
