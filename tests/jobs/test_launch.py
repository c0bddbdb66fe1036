"""Jobs side by side: a limited number at a time, and none starts after an interruption or error."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from threading import Barrier, Event
from types import SimpleNamespace

import pytest

from cl_runner.jobs.launch import Children, Ended, side_by_side


def test_each_job_is_given_with_its_outcome_and_so_many_run_at_a_time() -> None:
    together, most, under_way = Barrier(3), 0, 0

    def work(job: int, children: Children) -> int:
        nonlocal most, under_way
        under_way += 1
        most = max(most, under_way)
        together.wait(10)
        under_way -= 1
        return job**2

    outcomes = dict(side_by_side(iter(range(6)), work, 3))
    assert outcomes == {job: job**2 for job in range(6)}
    assert most == 3


def test_a_job_is_asked_for_when_there_is_a_thread_for_it() -> None:
    """So the choice of the next can depend on those that have ended."""
    ended: list[int] = []

    def jobs() -> Iterator[int]:
        for job in range(4):
            assert len(ended) >= job - 1
            yield job

    for job, _ in side_by_side(jobs(), lambda job, children: None, 2):
        ended.append(job)
    assert sorted(ended) == [0, 1, 2, 3]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
@pytest.mark.parametrize("where", ["work", "caller"])
def test_none_is_begun_after_an_interruption_or_an_error(error, where) -> None:
    """Running jobs end first, and cannot start another child."""
    begun, ended, raised = [], [], Event()

    def work(job: int, children: Children) -> None:
        begun.append(job)
        if where == "work" and job == 1:
            raised.set()
            raise error
        if job == 2:
            raised.wait(10)
            while not children.stopping:
                time.sleep(0.001)
            with pytest.raises(CancelledError):
                children.run([])
            ended.append(job)

    with pytest.raises(error):
        for _ in side_by_side(iter(range(1, 50)), work, 2):
            raised.set()
            if where == "caller":
                raise error
    assert ended == [2]
    assert len(begun) < 5


def test_a_child_is_looked_after_until_it_has_ended(monkeypatch) -> None:
    codes = iter([None, None, 3])

    def start(words: list[str], printed: Path) -> SimpleNamespace:
        (printed / "stderr").write_text("some line\nsome error: what is wrong\nanother\n")
        return SimpleNamespace(wait=lambda seconds: next(codes))

    monkeypatch.setattr("cl_runner.jobs.launch.Child", start)
    looks: list[object] = []
    ended = Children().run(["seed=1"], meanwhile=looks.append)
    assert ended == Ended(3, "", "some error: what is wrong") and len(looks) == 3


@pytest.mark.parametrize("where", ["work", "caller"])
def test_running_children_are_asked_to_save_after_an_error(where: str, monkeypatch) -> None:
    """They end when they have been interrupted, and not before."""
    interrupted, running, end = Event(), Event(), time.monotonic() + 10

    def start(words: list[str], printed: Path) -> SimpleNamespace:
        def wait(seconds: float) -> int | None:
            running.set()
            if interrupted.wait(seconds):
                return 143
            return 0 if time.monotonic() > end else None

        for stream in ("stdout", "stderr"):
            (printed / stream).touch()
        return SimpleNamespace(wait=wait, interrupt=interrupted.set)

    monkeypatch.setattr("cl_runner.jobs.launch.Child", start)

    def work(job: int, children: Children) -> Ended | None:
        if job == 1:
            return children.run([])
        running.wait(10)
        if where == "work":
            raise ValueError
        return None

    with pytest.raises(ValueError):
        for _ in side_by_side(iter([1, 2]), work, 2):
            raise ValueError
    assert interrupted.is_set()
