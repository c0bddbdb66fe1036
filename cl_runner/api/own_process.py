"""A sweep or a search in a process of its own.

Its jobs are forked from a process that has done nothing but import, or come from a launcher. A
notebook may have used the GPU or many threads, and a child of it could use neither.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen
from typing import Any

from cl_runner import errors
from cl_runner.config import search_path
from cl_runner.errors import RunError
from cl_runner.searches.found import Found, Table

MODULE = "cl_runner.api.own_process"
ERRORS = {
    error.exit_code: error
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, RunError)
}


def sweep(words: Sequence[str], config_dir: Path | None) -> Path:
    """`cl-train -m WORDS` in a child: the folder of the sweep. What it prints is printed here.

    Raises what the child raises. At KeyboardInterrupt the child and its jobs are asked to save and
    end first; a second one stops them at once.
    """
    return Path(_called("sweep", words, config_dir, {}))


def search(words: Sequence[str], config_dir: Path | None, flags: dict[str, Any]) -> Found:
    """The same for `cl-search WORDS`. flags: those of the command."""
    found = _called("search", words, config_dir, flags)
    return Found(**found | {"table": Table(**found["table"])})


def _called(name: str, words: Sequence[str], config_dir: Path | None, flags: dict[str, Any]) -> Any:
    read, write = os.pipe()
    place = "" if config_dir is None else str(config_dir)
    process = Popen(
        [sys.executable, "-P", "-m", MODULE, name, place, json.dumps(flags), str(write), *words],
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
    return _answer(said, process.returncode)


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
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does


def _answer(said: bytes, code: int) -> Any:
    """What the child returns, or an error to raise."""
    if not said:
        raise RunError(f"the process of the call ended with exit code {code}")
    answer = json.loads(said)
    if "returned" in answer:
        return answer["returned"]
    error = ERRORS[answer["exit_code"]]()
    error.args = (answer["message"],)
    raise error


def main() -> None:
    """In the child: the arguments are what is called, the folder of options, the flags, a
    descriptor for the answer, and the words."""
    from cl_runner import terminal
    from cl_runner.api import calls
    from cl_runner.jobs.child import end_with
    from cl_runner.searches.arguments import Arguments

    name, place, flags, answer, *words = sys.argv[1:]
    os.set_inheritable(int(answer), False)
    terminal.never_fail()
    end_with(sys.stdin.fileno())
    config_dir = Path(place) if place else None
    command = ["cl-train", "-m"] if name == "sweep" else ["cl-search"]
    sys.argv = [*command, *search_path.words(config_dir), *words]
    said: dict[str, Any]
    try:
        if name == "sweep":
            said = {"returned": str(calls.many(words, config_dir))}
        else:
            arguments = Arguments(words, config_dir, **json.loads(flags))
            said = {"returned": asdict(calls.search(arguments))}
    except RunError as error:
        said = {"exit_code": error.exit_code, "message": str(error)}
    except KeyboardInterrupt:
        sys.exit(errors.EXIT_CODES[signal.SIGINT])
    with os.fdopen(int(answer), "w") as file:
        json.dump(said, file)


if __name__ == "__main__":
    main()
