"""A sweep in a process of its own.

Its jobs are forked from a process that has done nothing but import, or come from a launcher. A
notebook may have used the GPU or many threads, and a child of it could use neither.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen

from cl_runner import errors
from cl_runner.errors import RunError

MODULE = "cl_runner.api.own_process"
ERRORS = {
    error.__name__: error
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, RunError)
}


def sweep(words: Sequence[str], config_dir: Path | None) -> Path:
    """`cl-train -m WORDS` in a child: the folder of the sweep. What it prints is printed here.

    Raises what the child raises. At KeyboardInterrupt the child is asked to save and end first; a
    second one stops it at once.
    """
    read, write = os.pipe()
    flags = ["" if config_dir is None else str(config_dir), str(write)]
    process = Popen(
        [sys.executable, "-P", "-m", MODULE, *flags, *words],
        stdin=PIPE,  # closed when this process ends
        stdout=PIPE,
        stderr=STDOUT,
        pass_fds=[write],
        start_new_session=True,  # Ctrl-C reaches it from here, and only once
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    os.close(write)
    with process, os.fdopen(read, "rb") as answer:
        interrupted = _followed(process)
        said = answer.read()
    if interrupted:
        raise KeyboardInterrupt
    return _folder(said, process.returncode)


def _followed(process: Popen[bytes]) -> bool:
    """Print what the child prints until it ends. Returns whether it was interrupted."""
    assert process.stdout is not None
    interrupted = False
    while True:
        try:
            for line in process.stdout:
                print(line.decode(errors="replace"), end="", flush=True)
            process.wait()
            return interrupted
        except KeyboardInterrupt:
            interrupted = True
            process.send_signal(signal.SIGINT)


def _folder(said: bytes, code: int) -> Path:
    """The answer of the child: a folder, or an error to raise."""
    if not said:
        raise RunError(f"the process of the sweep ended with exit code {code}")
    answer = json.loads(said)
    if "folder" in answer:
        return Path(answer["folder"])
    error = ERRORS[answer["error"]]()
    error.args = (answer["message"],)
    raise error


def main() -> None:
    """In the child: the arguments are the folder of options, a descriptor for the answer, and the
    words."""
    from cl_runner import terminal
    from cl_runner.api import calls
    from cl_runner.jobs.child import end_with

    config_dir, answer, *words = sys.argv[1:]
    os.set_inheritable(int(answer), False)
    terminal.never_fail()
    end_with(sys.stdin.fileno())
    sys.argv = ["cl-train", "-m", *words]
    try:
        folder = calls.many(words, Path(config_dir) if config_dir else None)
        said = {"folder": str(folder)}
    except RunError as error:
        names = [kind.__name__ for kind in type(error).__mro__ if kind.__name__ in ERRORS]
        said = {"error": names[0], "message": str(error)}
    except KeyboardInterrupt:
        sys.exit(errors.EXIT_CODES[signal.SIGINT])
    with os.fdopen(int(answer), "w") as file:
        json.dump(said, file)


if __name__ == "__main__":
    main()
