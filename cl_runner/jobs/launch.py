"""Jobs side by side, each `cl-train` in a child process of this one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from cl_runner.jobs.child import Child, complaint

T = TypeVar("T")
Outcome = TypeVar("Outcome")
POLL = 0.2  # seconds


@dataclass(frozen=True)
class Ended:
    """How a child ended. code: negative if a signal killed it."""

    code: int
    printed: str
    complaint: str  # the line that says why it failed


class Children:
    """Of one command: none is begun once it stops."""

    stopping = False

    def run(
        self, words: Sequence[str], meanwhile: Callable[[Child], object] = lambda child: None
    ) -> Ended:
        """`cl-train WORDS` to its end. meanwhile: called a few times a second until then."""
        if self.stopping:
            raise CancelledError
        with TemporaryDirectory() as folder:
            printed = Path(folder)
            child = Child(words, printed)
            while (code := child.wait(POLL)) is None:
                meanwhile(child)
            meanwhile(child)
            text = (printed / "stdout").read_text("utf-8") if code == 0 else ""
            return Ended(code, text, "" if code == 0 else complaint(printed))


def side_by_side(
    jobs: Iterator[T], work: Callable[[T, Children], Outcome], at_a_time: int
) -> Iterator[tuple[T, Outcome]]:
    """Work on jobs in threads, so many at a time, and give each with its outcome when it ends.

    A job is asked for when there is a thread for it. After an interruption or an error, whether in
    the work or in the caller, none is begun, and those under way end first: Ctrl-C reaches the
    children too, which save their state.
    """
    children = Children()
    under_way: dict[Future[Outcome], T] = {}
    with ThreadPoolExecutor(at_a_time) as pool:
        try:
            while True:
                for job in islice(jobs, at_a_time - len(under_way)):
                    under_way[pool.submit(work, job, children)] = job
                if not under_way:
                    return
                for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                    yield under_way.pop(future), future.result()
        finally:
            children.stopping = True
