"""Runs in child processes: each exit code is known, whichever thread waits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SEVERAL = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from cl_runner.jobs.child import Child
def code(number):
    printed = Path(sys.argv[1], str(number))
    printed.mkdir()
    return Child(["nonsense"], printed).wait()
if __name__ == "__main__":
    with ThreadPoolExecutor(8) as pool:
        print({*pool.map(code, range(24))})
"""


def test_threads_that_begin_and_await_children_know_how_each_ended(tmp_path: Path) -> None:
    """Starting one collects the exit codes of the others, which another thread may be reading."""
    (tmp_path / "script.py").write_text(SEVERAL)
    words = [sys.executable, str(tmp_path / "script.py"), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("{2}\n", "")
