"""The code of packages that are trusted: what registers metrics is imported, once."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from cl_runner.errors import ConfigError, why_not_imported
from cl_runner.metrics import METRICS
from cl_runner.plugins import trusted
from cl_runner.plugins.installed import metrics_in
from cl_runner.text import harmless

_done: set[trusted.Entry] = set()


def load() -> None:
    """Import the metrics of all trusted plugins. What is missing or fails is one line on stderr,
    and left out. Raises ConfigError only if the list of trusted plugins is damaged."""
    for each, why in trusted.missing().items():
        if each not in _done:
            hint = f"cl-train --distrust {each.name} forgets it"
            said = f"{why}; {hint}" if why == trusted.NOT_INSTALLED else why
            _say(f"plugin {each.name} ({each.distribution}) {said}")
    for plugin in trusted.plugins():
        if trusted.Entry(plugin.name, plugin.distribution) in _done or not metrics_in(
            plugin.folder
        ):
            continue
        try:
            _import(f"{plugin.package}.metrics")
        except (Exception, SystemExit) as error:  # it can raise anything
            _say(f"plugin {plugin.name}: its metrics are left out ({why_not_imported(error)})")
    _done.update(trusted.entries())


def load_packages(names: list[str]) -> None:
    """The same for packages that the command line trusts: of a package its `metrics`, of a single
    file all of it. Raises ConfigError if that fails."""
    for name in names:
        try:
            spec = find_spec(name) if name.isidentifier() else None
            if spec is None:
                continue
            places = list(spec.submodule_search_locations or ())
            if not places:
                _import(name)
            elif metrics_in(Path(places[0])):
                _import(f"{name}.metrics")
        except (Exception, SystemExit) as error:
            allowed = f"cannot be imported ({why_not_imported(error)})"
            raise ConfigError.of("trusted_targets", name, allowed) from None


def _import(module: str) -> None:
    """Import it with all of its metrics, or with none."""
    before = dict(METRICS)
    try:
        import_module(module)
    except BaseException:
        METRICS.clear()
        METRICS.update(before)
        raise


def _say(line: str) -> None:
    print(harmless(line), file=sys.stderr)
