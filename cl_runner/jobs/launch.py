"""Jobs side by side, each a `cl-train` in a child process."""

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
    """The children of one command. None is started once the command is stopping.

    flags: of `cl-train`, for each of them.
    """

    stopping = False

    def __init__(self, flags: Sequence[str] = ()) -> None:
        self.flags = flags
        self.running: list[Child] = []

    def interrupt(self) -> None:
        """Ask the running ones to save and end."""
        self.stopping = True
        for child in list(self.running):
            child.interrupt()

    def run(
        self, words: Sequence[str], meanwhile: Callable[[Child], object] = lambda child: None
    ) -> Ended:
        """Run `cl-train WORDS` to its end. meanwhile: called a few times a second until then, and
        once after it. Raises CancelledError once the command is stopping."""
        if self.stopping:
            raise CancelledError
        with TemporaryDirectory() as folder:
            printed = Path(folder)
            child = Child([*self.flags, *words], printed)
            self.running.append(child)
            if self.stopping:  # since it was asked above
                child.interrupt()
            while (code := child.wait(POLL)) is None:
                meanwhile(child)
            self.running.remove(child)
            meanwhile(child)
            text = (printed / "stdout").read_text("utf-8") if code == 0 else ""
            return Ended(code, text, "" if code == 0 else complaint(printed))


def side_by_side(
    jobs: Iterator[T],
    work: Callable[[T, Children], Outcome],
    at_a_time: int,
    flags: Sequence[str] = (),
) -> Iterator[tuple[T, Outcome]]:
    """Work on jobs in threads, and yield each with its outcome when it ends. flags: the children's.

    The next job is taken only when a thread is free. After an interruption or an error, in the work
    or in the caller, no job is started, and the running ones save their state and end. Ctrl-C
    reaches them by itself; a second signal would end them before they have saved.
    """
    children = Children(flags)
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
        except (Exception, GeneratorExit):
            children.interrupt()
            raise
        finally:
            children.stopping = True
