"""cl-runner: train one network on tasks one after another, and measure what it forgets."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cl_runner.api.commands import load, run, search, sweep
    from cl_runner.api.loading import load_network
    from cl_runner.api.runs import Run, Runs
    from cl_runner.api.search import Search
    from cl_runner.errors import RunError

__version__ = "0.1.0"
__all__ = [
    "Run",
    "RunError",
    "Runs",
    "Search",
    "load",
    "load_network",
    "run",
    "search",
    "sweep",
]

_HOMES = {
    "Run": "cl_runner.api.runs",
    "RunError": "cl_runner.errors",
    "Runs": "cl_runner.api.runs",
    "Search": "cl_runner.api.search",
    "load": "cl_runner.api.commands",
    "load_network": "cl_runner.api.loading",
    "run": "cl_runner.api.commands",
    "search": "cl_runner.api.commands",
    "sweep": "cl_runner.api.commands",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for, and only then: torch takes seconds, and a command needs none of
    these."""
    if name not in _HOMES:
        raise AttributeError(f"module 'cl_runner' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
