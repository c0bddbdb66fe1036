"""Output, wherever it goes, changes neither what a command does nor its exit code."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import exit_code, fork

from cl_runner import terminal
from cl_runner.data import prepare
from cl_runner.errors import ConfigError
from cl_runner.report import command as report
from cl_runner.reproduce import command as reproduce
from cl_runner.searches import command as search
from cl_runner.train import main as train
from cl_runner.training import run

TINY = ("epochs=1", "model.widths=[4]", "threads=1", "log_every=1000")
COMMANDS = {"cl-train": train, "cl-report": report.main, "cl-reproduce": reproduce.main,
            "cl-search": search.main, "cl-data": prepare.main}  # fmt: skip
WITHOUT_END = 120
"""Python's exit code if it cannot flush stdout at its end."""


def closed(*numbers: int) -> Callable[[], None]:
    """As after `>&-` in a shell: Python then has None for the stream."""

    def close() -> None:
        for number in numbers:
            os.close(number)
            setattr(sys, ("stdin", "stdout", "stderr")[number], None)

    return close


def led_to(opened: Callable[[], int], encoding: str = "utf-8") -> Callable[[], None]:
    """Both streams as Python creates them for this descriptor and this locale."""

    def lead() -> None:
        descriptor = opened()
        for number, name, errors in ((1, "stdout", "strict"), (2, "stderr", "backslashreplace")):
            os.dup2(descriptor, number)
            stream = io.TextIOWrapper(
                io.BufferedWriter(io.FileIO(number, "w", closefd=False)),
                encoding,
                errors,
                line_buffering=number == 2,
            )
            setattr(sys, name, stream)

    return lead


def pipe_without_reader() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def printed() -> int:
    return os.open("printed", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)


KINDS = {
    "stdout closed": closed(1),
    "stderr closed": closed(2),
    "all closed": closed(0, 1, 2),
    "broken pipe": led_to(pipe_without_reader),
    "full disk": led_to(lambda: os.open("/dev/full", os.O_WRONLY)),
    "ascii": led_to(printed, "ascii"),
    "latin-1": led_to(printed, "latin-1"),
}


@pytest.fixture
def end_of(tmp_path: Path) -> Callable[..., int]:
    """The exit code of a command in a forked process with such streams."""

    def call(kind: str, *command: str) -> int:
        child = fork()
        if child == 0:
            code = 70  # if it raises
            try:
                os.chdir(tmp_path)
                KINDS[kind]()
                sys.argv = [*command]
                try:
                    COMMANDS[command[0]]()
                    code = 0
                except SystemExit as stop:
                    code = int(stop.code or 0)
                try:
                    sys.stdout.flush()
                except Exception:
                    code = WITHOUT_END
            except BaseException:
                with open(tmp_path / "raised", "a") as file:
                    traceback.print_exc(file=file)
            os._exit(code)
        return exit_code(child)

    return call


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_can_tell_of_itself(command: str, end_of) -> None:
    assert {kind: end_of(kind, command, "--help") for kind in KINDS} == dict.fromkeys(KINDS, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep_and_its_job_are_complete_and_so_is_the_exit_code(
    kind: str, end_of, tmp_path: Path
) -> None:
    assert end_of(kind, "cl-train", "-m", *TINY, "hydra.sweep.dir=s") == 0
    (status,) = tmp_path.glob("s/*/status.json")
    assert '"complete"' in status.read_text()
    assert end_of(kind, "cl-train", f"resume={status.parent}") == 0  # "already complete"
    assert not (tmp_path / "raised").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_other_commands_end_as_they_should(kind: str, end_of) -> None:
    assert end_of(kind, "cl-reproduce", "--list") == 0
    assert end_of(kind, "cl-reproduce", "none") == 2
    assert end_of(kind, "cl-data", "check", "mnist", "--root", "nowhere") == 4
    assert end_of(kind, "cl-report", "nowhere") == 2
    assert end_of(kind, "cl-search", "seed=1") == 2


def test_what_an_encoding_lacks_is_written_in_ascii(end_of, tmp_path: Path) -> None:
    assert end_of("ascii", "cl-train", "epochs=²") == 2
    (line,) = (tmp_path / "printed").read_text("ascii").splitlines()
    assert line.startswith("config error: command line=epochs=^2: ")
    assert end_of("latin-1", "cl-reproduce", "--list") == 0
    assert "alpha and T" in (tmp_path / "printed").read_text("latin-1")


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Restores the streams that a test or a command has replaced."""
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, getattr(sys, name))
    return monkeypatch


@pytest.mark.parametrize(("encoding", "written"), [
    ("ascii", b"a->b +-1 - >= <= alpha ? ?\xff\n"),
    ("latin-1", b"a->b \xb11 - >= <= alpha ? ?\xff\n"),
    ("utf-8", "a→b ±1 – ≥ ≤ α 漢 ?".encode() + b"\xff\n"),
])  # fmt: skip
def test_what_stands_for_a_character(
    encoding: str, written: bytes, tmp_path: Path, streams: pytest.MonkeyPatch
) -> None:
    """In UTF-8 nothing changes; a byte of a file name that is not text stays that byte."""
    file = tmp_path / "printed"
    with file.open("w") as opened:
        opened.reconfigure(encoding=encoding)
        streams.setattr(sys, "stdout", opened)
        terminal.never_fail()
        print("a→b ±1 – ≥ ≤ α 漢 \ud800\udcff", flush=True)
    assert file.read_bytes() == written


def test_what_was_printed_before_stays_before(tmp_path: Path, streams: pytest.MonkeyPatch) -> None:
    with (tmp_path / "printed").open("w") as opened:
        streams.setattr(sys, "stdout", opened)
        print("one")
        for line in ("two", "three"):  # a command called by another one calls it again
            terminal.never_fail()
            print(line)
        sys.stdout.flush()
    assert (tmp_path / "printed").read_text() == "one\ntwo\nthree\n"


@pytest.mark.parametrize(("raised", "code", "line"), [
    (ConfigError.of("a", 1, "is odd"), 2, "config error: a=1: is odd.\n"),
    (OSError(28, "No space left on device", "file"), 5,
     "storage error: file: No space left on device\n"),
    (OSError(28, "No space left on device"), 5, "storage error: No space left on device\n"),
    (KeyboardInterrupt(), 130, "interrupted; it goes on\n"),
    (SystemExit(143), 143, ""),
])  # fmt: skip
def test_an_error_ends_a_command_in_one_line(
    raised: BaseException, code: int, line: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop, terminal.command("it goes on"):
        raise raised
    assert (stop.value.code, capfd.readouterr().err) == (code, line)


def test_no_file_of_ours_gets_the_number_of_a_closed_stream(
    end_of, cl_train_here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all three are closed they lead to /dev/null, and the files of the run do not change."""
    inner = run.run

    def seen(*given: object, **named: object) -> object:
        led = [os.readlink(f"/proc/self/fd/{number}") for number in range(3)]
        (tmp_path / "led").write_text(" ".join(led))
        return inner(*given, **named)

    monkeypatch.setattr(run, "run", seen)
    assert end_of("all closed", "cl-train", *TINY, "name=bare") == 0
    monkeypatch.setattr(run, "run", inner)
    assert cl_train_here(*TINY, "name=plain").returncode == 0
    assert (tmp_path / "led").read_text() == "/dev/null /dev/null /dev/null"
    one, other = (tmp_path / "outputs" / name / "metrics.jsonl" for name in ("plain", "bare"))
    assert one.read_bytes() == other.read_bytes() != b""


def test_a_report_and_a_suite_in_the_c_locale(cl_train_here, tmp_path: Path) -> None:
    """Our files are UTF-8, whatever the locale."""
    assert cl_train_here(*TINY, "name=one").returncode == 0
    c = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for module, *words in (("report", "outputs"), ("reproduce", "--list")):
        done = subprocess.run(
            [sys.executable, "-m", f"cl_runner.{module}.command", *words],
            cwd=tmp_path,
            env={**os.environ, **c},
            capture_output=True,
        )
        assert (done.returncode, done.stderr) == (0, b"") and done.stdout.isascii()
