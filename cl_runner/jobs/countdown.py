"""A line for each job that ends, and below them a bar: how many have ended, and the time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Hashable, Iterable
from statistics import fmean
from threading import RLock
from types import TracebackType

from cl_runner import terminal
from cl_runner.text import counted, duration, one_line

BAR = "{desc}|{bar}| {elapsed}{postfix}"


class Countdown:
    """Counts the jobs of one command. Without a terminal there is no bar, but a line a minute while
    no job ends. May be used from several threads.

    total: jobs in all. at_a_time: how many run side by side. noun: what they are called. clock:
    gives seconds.
    """

    def __init__(
        self,
        total: int,
        at_a_time: int,
        noun: str = "job",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total, self.at_a_time, self.noun, self.clock = total, at_a_time, noun, clock
        self.before = set[Hashable]()  # the keys of jobs that had ended when the command started
        self.told = set[Hashable]()  # of those that have a line
        self.running = dict[Hashable, float]()  # since when
        self.seconds: list[float] = []  # of each job that is complete
        self.failed = dict[str, str]()  # the label of the first job that failed in this way
        self.printed = self.last = clock()
        self.lock = RLock()
        self.output = sys.stdout  # a job in this process may replace it
        self.bar = terminal.bar(total, 0, BAR, self.title)

    def __enter__(self) -> Countdown:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self.lock:
            self.bar.close()
            self.bar.disable = True
            self.printed = float("inf")  # a thread that still looks says nothing more

    @property
    def ended_so_far(self) -> int:
        return len(self.before | self.told)

    def already(self, keys: Iterable[Hashable], state: str = "complete") -> None:
        """These jobs are in this state from the start: one line for all of them."""
        with self.lock:
            self.before |= set(keys)
            if self.before:
                many = f"{len(self.before)} of {counted(self.total, self.noun)}"
                self.say(f"already {state}: {many}")

    def begun(self, key: Hashable) -> None:
        """This job is under way."""
        with self.lock:
            if key not in self.told | self.before:
                self.running.setdefault(key, self.clock())

    def ended(self, key: Hashable, label: str, text: str, *, complete: bool) -> None:
        """Print the line of a job, once. text: how it ended; a failure that was told before is not
        repeated. The time that is left is estimated from those that are complete."""
        with self.lock:
            if key in self.told:
                return
            self.told.add(key)
            now = self.clock()
            begun = self.running.pop(key, self.last)
            self.last = now
            if complete:
                self.seconds.append(now - begun)
            elif (
                text.startswith("failed")
                and (first := self.failed.setdefault(text, label)) != label
            ):
                text = f"failed like {first}"
            left = f", {self.left}" if complete and self.left else ""
            self.say(f"{self.ended_so_far}/{self.total} {label}: {text}{left}")

    def say(self, line: str) -> None:
        """Print a line, above the bar."""
        with self.lock:
            self.bar.clear()
            print(one_line(line), file=self.output, flush=True)
            self.printed = self.clock()
            self._draw()

    def tick(self) -> None:
        """Redraw the bar. Without one, print a line if none was printed for a minute."""
        with self.lock:
            if not self.bar.disable:
                self._draw()
            elif self.clock() - self.printed >= terminal.MINUTE:
                parts = [f"{self.ended_so_far} of {counted(self.total, self.noun)} ended"]
                parts += [f"{len(self.running)} running"] if self.running else []
                self.say(", ".join([*parts, *([self.left] if self.left else [])]))

    @property
    def left(self) -> str:
        """About how long the others will take, in words; empty if that is not known."""
        waiting = self.total - self.ended_so_far - len(self.running)
        if not self.seconds or waiting + len(self.running) <= 0:
            return ""
        mean, now = fmean(self.seconds), self.clock()
        rest = sum(max(0.0, mean - (now - since)) for since in self.running.values())
        side_by_side = min(self.at_a_time, waiting + len(self.running))
        return f"about {duration((max(waiting, 0) * mean + rest) / side_by_side)} left"

    @property
    def title(self) -> str:
        """Of the bar."""
        return f"{self.ended_so_far}/{counted(self.total, self.noun)} "

    def _draw(self) -> None:
        if not self.bar.disable:
            self.bar.n = self.ended_so_far
            self.bar.set_description_str(self.title, refresh=False)
            self.bar.set_postfix_str(self.left, refresh=False)
            self.bar.refresh()
