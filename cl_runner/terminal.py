"""What a command prints and how it ends: output that cannot be written never changes that."""

from __future__ import annotations

import codecs
import io
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from threading import RLock
from typing import TYPE_CHECKING, Any, NoReturn

from cl_runner.errors import RunError, StorageError

if TYPE_CHECKING:
    from tqdm import tqdm

MINUTE = 60.0
"""Seconds between two lines of progress where no terminal shows a bar."""
_PAIRS = (
    "→ ->  ← <-  − -  – -  — -  … ...  ± +-  × x  · .  ≥ >=  ≤ <=  ≠ !=  ∞ inf  ² ^2  Σ sum  ‖ |  "
    "λ lambda  α alpha  β beta  δ delta  θ theta  π pi  σ sigma  ω omega"
)
_WORDS = _PAIRS.split()
IN_ASCII = dict(zip(_WORDS[::2], _WORDS[1::2], strict=True))
"""Replacements for characters that an encoding lacks; all others become a question mark."""
ERRORS = "cl_runner.transliterate"


@contextmanager
def command(hint: str = "") -> Iterator[None]:
    """Encloses the whole work of a command. An error ends it with one line and its exit code.

    hint: how to continue after an interruption.
    """
    never_fail()
    try:
        yield
    except RunError as error:
        end(str(error), error.exit_code)
    except OSError as error:
        parts = [error.filename, error.strerror or error]
        text = ": ".join(str(part) for part in parts if part is not None)
        end(f"storage error: {text}", StorageError.exit_code)
    except KeyboardInterrupt:
        end("; ".join(filter(None, ("interrupted", hint))), 130)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def run(parser: ArgumentParser, work: Callable[[Namespace], int | None], hint: str = "") -> None:
    """A whole command: `work` on the parsed arguments. It returns the exit code, None for 0."""
    with command(hint):
        if exit_code := work(parser.parse_intermixed_args()):
            sys.exit(exit_code)


def never_fail() -> None:
    """From now on printing never raises: text is written, transliterated or dropped."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # closed: the next file to be opened would get this number
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)
    sys.stdin = sys.stdin or io.TextIOWrapper(io.FileIO(0, closefd=False))
    sys.stdout = _that_never_fails(sys.stdout, 1)
    sys.stderr = _that_never_fails(sys.stderr, 2)


def bar(total: int, done: int, form: str, title: str = "") -> tqdm[Any]:
    """A bar on stderr that vanishes when it is closed; disabled where that is no terminal."""
    from tqdm import tqdm

    # Forked processes share tqdm's own lock. If one is killed while it holds the lock, or a
    # thread held it at the fork, all others would wait for ever.
    tqdm.monitor_interval = 0
    tqdm.set_lock(RLock())
    return tqdm(
        desc=title,
        total=total,
        initial=done,
        disable=None,
        bar_format=form,
        dynamic_ncols=True,
        leave=False,
    )


@contextmanager
def silent() -> Iterator[None]:
    """Inside, whatever Python code prints is dropped. The descriptors stay as they are, so the last
    words of a process that crashes are still seen."""
    never_fail()
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


class _Descriptor(io.FileIO):
    """Reports all bytes as written. stream: also writes there, and closes it when it is freed."""

    def __init__(self, number: int, stream: Any) -> None:
        super().__init__(number, "w", closefd=False)
        self.stream = stream

    def write(self, data: Any) -> int:
        with suppress(OSError):
            return super().write(data) or len(data)  # None: the reader is too slow
        return len(data)


def _that_never_fails(stream: Any, number: int) -> Any:
    """A stream to the same place as this one (None: to this descriptor). It has the layers of any
    text stream, so that every way to print passes through them."""
    if isinstance(getattr(getattr(stream, "buffer", None), "raw", None), _Descriptor):
        return stream
    if stream is None:
        return _text(_Descriptor(number, None), "utf-8", number == 2)
    try:
        number = stream.fileno()
    except (OSError, ValueError, AttributeError):  # in memory, as in a test or a notebook
        return stream
    with suppress(OSError, ValueError):
        stream.flush()
    by_line = stream.line_buffering or stream.write_through
    return _text(_Descriptor(number, stream), stream.encoding, by_line)


def _text(descriptor: _Descriptor, encoding: str, by_line: bool) -> io.TextIOWrapper:
    buffer = io.BufferedWriter(descriptor)
    return io.TextIOWrapper(buffer, encoding, ERRORS, line_buffering=by_line)


def _transliterated(error: UnicodeError) -> tuple[str | bytes, int]:
    """An error handler for `codecs`. A byte of a file's name that is not text stays as it is."""
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    if "\udc80" <= text[0] <= "\udcff":
        return os.fsencode(text[0]), error.start + 1
    return IN_ASCII.get(text[0], "?"), error.start + 1


codecs.register_error(ERRORS, _transliterated)


def end(message: str, exit_code: int) -> NoReturn:
    """End the process with this message and this exit code."""
    print(message, file=sys.stderr)
    sys.exit(exit_code)
