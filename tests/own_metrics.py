"""Metrics of a user's own, registered for as long as a test lasts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cl_runner.metrics import METRICS


@contextmanager
def registry_as_before() -> Iterator[None]:
    """Whatever is registered inside is forgotten afterwards."""
    before = dict(METRICS)
    try:
        yield
    finally:
        METRICS.clear()
        METRICS.update(before)
