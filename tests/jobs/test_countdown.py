"""The lines of a command that runs many jobs, the bar below them, and the time that is left."""

from __future__ import annotations

import io
import os
import pty
import re
import sys
import termios

import pytest
from processes import exit_code, fork

from cl_runner.jobs.countdown import Countdown
from cl_runner.text import duration


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_a_job_that_ends_has_a_line_with_the_time_that_is_left(clock, capsys) -> None:
    with Countdown(6, 2, clock=clock) as countdown:
        countdown.begun("a")
        countdown.begun("b")
        clock.now = 40.0
        countdown.ended("a", "T=2 seed=0", "54.1 %, forgetting 75.9, 40 s", complete=True)
        countdown.begun("c")
        clock.now = 80.0
        countdown.ended("b", "T=2 seed=1", "50.0 %, forgetting 80.0, 80 s", complete=True)
        countdown.ended("b", "T=2 seed=1", "told again", complete=True)
    # After a, 4 wait for 40 s each, and b has had that; after b, 3 wait for 60 s each, and c has 20
    # of its 60 s to go. Two run at a time.
    assert lines(capsys) == [
        "1/6 T=2 seed=0: 54.1 %, forgetting 75.9, 40 s, about 80 s left",
        "2/6 T=2 seed=1: 50.0 %, forgetting 80.0, 80 s, about 2 min left",
    ]


@pytest.mark.parametrize("at_a_time", [1, 3, 4])
def test_the_estimate_is_exact_where_all_jobs_take_the_same_time(at_a_time: int, clock) -> None:
    """Twelve jobs of 5 s that begin together, wave after wave."""
    with Countdown(12, at_a_time, clock=clock) as countdown:
        for first in range(0, 12, at_a_time):
            wave = range(first, first + at_a_time)
            for job in wave:
                countdown.begun(job)
            clock.now += 5
            for job in wave:
                countdown.ended(job, "", "", complete=True)
            left = 5 * (12 - wave[-1] - 1) / at_a_time
            assert countdown.left == (f"about {duration(left)} left" if left else "")


def test_what_was_complete_before_is_one_line_and_no_part_of_the_estimate(clock, capsys) -> None:
    with Countdown(43, 1, clock=clock) as countdown:
        countdown.already(range(40))
        assert countdown.left == ""  # nothing is known yet
        countdown.begun(41)
        clock.now = 7.0
        countdown.ended(41, "seed=41", "well", complete=True)
    assert lines(capsys) == [
        "already complete: 40 of 43 jobs",
        "41/43 seed=41: well, about 14 s left",
    ]


def test_a_failure_is_told_and_is_no_part_of_the_estimate(clock, capsys) -> None:
    with Countdown(3, 1, clock=clock) as countdown:
        countdown.begun("a")
        countdown.ended("a", "lr=9", "failed with exit code 3: diverged\x1b[2J", complete=False)
        countdown.begun("b")
        clock.now = 30.0
        countdown.ended("b", "lr=1", "well", complete=True)
    assert lines(capsys) == [
        r"1/3 lr=9: failed with exit code 3: diverged\x1b[2J",
        "2/3 lr=1: well, about 30 s left",
    ]


def test_a_failure_that_many_jobs_share_is_told_once(clock, capsys) -> None:
    with Countdown(4, 1, clock=clock) as countdown:
        for job, text in (
            ("a", "failed: no data"),
            ("b", "failed: full"),
            ("c", "failed: no data"),
        ):
            countdown.ended(job, f"job={job}", text, complete=False)
    assert lines(capsys) == [
        "1/4 job=a: failed: no data",
        "2/4 job=b: failed: full",
        "3/4 job=c: failed like job=a",
    ]


def test_without_a_terminal_there_is_a_line_a_minute_while_no_job_ends(clock, capsys) -> None:
    with Countdown(3, 2, "run", clock=clock) as countdown:
        countdown.begun("a")
        countdown.begun("b")
        for second in range(1, 151):
            clock.now = float(second)
            countdown.tick()
            if second == 100:
                countdown.ended("a", "seed=0", "well", complete=True)
    clock.now = 1000.0
    countdown.tick()  # from a thread that still looks
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        "0 of 3 runs ended, 2 running",
        "1/3 seed=0: well, about 50 s left",
    ]
    assert printed.err == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_shows_how_many_have_ended(clock, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    with Countdown(4, 1, clock=clock) as countdown:
        assert stream.getvalue().startswith("\r0/4 jobs |")
        clock.now = 9.0
        countdown.ended("a", "", "", complete=True)
        last = stream.getvalue().rpartition("\r")[2]
        assert last.startswith("1/4 jobs |") and last.rstrip().endswith(", about 27 s left")
    assert stream.getvalue().rpartition("\r")[0].endswith(" ")  # wiped out


def shown(printed: str) -> list[str]:
    """The screen after this output: a return goes to the start of the line, to be overwritten."""
    screen = []
    for line in printed.split("\n"):
        row = ""
        for text in line.split("\r"):
            row = text + row[len(text) :]
        screen.append(row.rstrip())
    return screen


def test_on_a_terminal_lines_are_whole_and_the_bar_is_gone_in_the_end() -> None:
    terminal, inner = pty.openpty()
    termios.tcsetwinsize(inner, (24, 80))
    child = fork()
    if child == 0:
        try:
            sys.stdout = sys.stderr = open(inner, "w")  # noqa: SIM115
            with Countdown(3, 1) as countdown:
                for number in range(3):
                    countdown.tick()
                    countdown.ended(number, f"seed={number}", "54.1 %", complete=False)
        finally:
            os._exit(0)
    os.close(inner)
    printed = bytearray()
    try:
        while chunk := os.read(terminal, 4096):
            printed += chunk
    except OSError:  # the child has ended
        pass
    assert exit_code(child) == 0
    os.close(terminal)
    text = re.sub("\r+\n", "\n", printed.decode())
    assert "0/3 jobs |" in text and "2/3 jobs |" in text
    told = [f"{number + 1}/3 seed={number}: 54.1 %" for number in range(3)]
    assert shown(text) == [*told, ""]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (12.4, "12 s"), (89.6, "90 s"), (95, "2 min"), (3600, "60 min"),
     (2 * 3600, "2.0 h"), (47 * 3600, "2.0 days")],
)  # fmt: skip
def test_a_duration_is_rounded(seconds: float, text: str) -> None:
    assert duration(seconds) == text
