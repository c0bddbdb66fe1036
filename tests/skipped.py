"""`pytest --skipped-before`: only the tests that the last run skipped."""

from __future__ import annotations

import pytest

IN_CACHE = "cl_runner/skipped"
skipped: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "only the tests that the last run skipped, without an extra, data or a browser"
    parser.addoption("--skipped-before", action="store_true", help=text)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--skipped-before"):
        assert config.cache is not None
        wanted = set(config.cache.get(IN_CACHE, []))
        config.hook.pytest_deselected(items=[i for i in items if i.nodeid not in wanted])
        items[:] = [item for item in items if item.nodeid in wanted]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped:
        skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    cache = getattr(session.config, "cache", None)  # -p no:cacheprovider
    of_worker = hasattr(session.config, "workerinput")  # pytest-xdist's workers see only a part
    if cache is not None and not of_worker:
        cache.set(IN_CACHE, skipped)
