"""Files of a run are whole or do not exist, whatever the disk does; rows of docs/faults.md."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace

import pytest
from processes import exit_code
from running import TINY

from cl_runner import lock
from cl_runner.errors import FolderInUse, StorageError
from cl_runner.run_folder import files as storage
from cl_runner.run_folder.checkpoint import Unusable, unpacked

DISK_OF_ITS_OWN = (
    shutil.which("unshare") is not None
    and not subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True
    ).returncode
)
own_disk = pytest.mark.skipif(not DISK_OF_ITS_OWN, reason="no rights to mount a small disk")


class Disk:
    """The operating system; it notes all calls, and one of them can fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fail_at: str = "", code: int = 0) -> None:
        self.calls: list[str] = []
        self.fail_at, self.code = fail_at, code
        system = SimpleNamespace(**vars(os))
        for name in ("open", "write", "fsync", "replace", "close"):
            setattr(system, name, self._noting(name, getattr(os, name)))
        for module in (storage, lock):
            monkeypatch.setattr(module, "os", system)

    def _noting(self, name: str, call):
        def noted(*arguments):
            self.calls.append(name)
            if name == self.fail_at:
                raise OSError(self.code, os.strerror(self.code))
            return call(*arguments)

        return noted


def test_a_file_is_replaced_only_when_the_new_one_is_on_the_disk(tmp_path, monkeypatch) -> None:
    """Killing a process does not show whether fsync was called; the order of calls does."""
    disk = Disk(monkeypatch)
    storage.write(tmp_path / "file", "text")
    expected = ["open", "write", "fsync", "close", "replace", "open", "fsync", "close"]
    assert disk.calls == expected  # the second fsync is of the folder


@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_write_that_fails_leaves_the_old_file(call, code, tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_text("old")
    Disk(monkeypatch, call, code)
    with pytest.raises(StorageError, match=os.strerror(code)):
        storage.write(tmp_path / "file", "new")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_room_is_looked_for_before_anything_is_written(tmp_path, monkeypatch) -> None:
    disk = Disk(monkeypatch)
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda _: SimpleNamespace(free=3))
    with pytest.raises(StorageError, match=r"disk full .* 4 bytes needed, 3 free"):
        storage.write(tmp_path / "file", "text")
    assert disk.calls == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.ENOLCK])
def test_a_lock_that_cannot_be_had_is_told(code, tmp_path, monkeypatch) -> None:
    def failing(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    if code == errno.ENOLCK:
        monkeypatch.setattr(lock.fcntl, "flock", failing)
    else:
        Disk(monkeypatch, "write", code)
    with pytest.raises(StorageError, match=os.strerror(code)), storage.locked(tmp_path):
        pass


def test_what_cannot_be_made_durable_is_told(tmp_path, monkeypatch) -> None:
    Disk(monkeypatch, "fsync", errno.EIO)
    with (
        (tmp_path / "file").open("w") as file,
        pytest.raises(StorageError, match="file: Input/output error"),
    ):
        storage.sync(file.fileno(), tmp_path / "file")


def test_a_write_in_pieces_is_whole(tmp_path, monkeypatch) -> None:
    disk = Disk(monkeypatch)
    write = storage.os.write
    monkeypatch.setattr(storage.os, "write", lambda where, data: write(where, data[:3]))
    storage.write(tmp_path / "file", "0123456789")
    assert (tmp_path / "file").read_text() == "0123456789"
    assert disk.calls.count("write") == 4


def test_the_lock_names_its_owner_and_goes_with_it(tmp_path: Path) -> None:
    hold = (
        "import sys, time; from pathlib import Path\n"
        "from cl_runner.run_folder.files import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen([sys.executable, "-c", hold, str(tmp_path)], stdout=subprocess.PIPE)
    assert owner.stdout is not None and owner.stdout.readline() == b"held\n"
    assert storage.is_locked(tmp_path)
    with (
        pytest.raises(FolderInUse, match=rf"in use by process {owner.pid} on \S+"),
        storage.locked(tmp_path),
    ):
        pass
    owner.kill()
    owner.communicate()
    assert not storage.is_locked(tmp_path)
    with storage.locked(tmp_path):
        assert storage.is_locked(tmp_path)


def test_a_forked_child_does_not_hold_its_parents_lock(tmp_path: Path) -> None:
    hold = (
        "import os, sys, time; from pathlib import Path\n"
        "from cl_runner.run_folder.files import locked\n"
        "with locked(Path(sys.argv[1])):\n"
        "    if os.fork(): print('forked', flush=True)\n"
        "    time.sleep(60)"
    )
    words = [sys.executable, "-c", hold, str(tmp_path)]
    owner = subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert owner.stdout is not None and owner.stdout.readline() == b"forked\n"
        assert storage.is_locked(tmp_path)
        owner.kill()
        owner.wait()  # not communicate: the child holds the pipe, too
        until = time.monotonic() + 5  # the child may not have been scheduled yet
        while storage.is_locked(tmp_path) and time.monotonic() < until:
            time.sleep(0.01)
        assert not storage.is_locked(tmp_path)
        os.killpg(owner.pid, 0)  # the child is still there
    finally:
        os.killpg(owner.pid, signal.SIGKILL)
        owner.communicate()


def test_who_asks_whether_a_folder_is_locked_keeps_nobody_out(tmp_path: Path) -> None:
    with storage.locked(tmp_path):
        pass
    asking = Event()

    def ask() -> None:
        while not asking.is_set():
            assert not lock.is_held(tmp_path / "other")
            storage.is_locked(tmp_path)

    asker = Thread(target=ask)
    asker.start()
    try:
        for _ in range(50):
            with storage.locked(tmp_path):
                pass
    finally:
        asking.set()
        asker.join()


def test_what_goes_wrong_under_a_lock_is_not_taken_for_a_lock(tmp_path: Path) -> None:
    with pytest.raises(BlockingIOError), storage.locked(tmp_path):
        raise BlockingIOError


@pytest.mark.parametrize(
    ("root", "reason"),
    [("file", "Not a directory"), ("file/below", "Not a directory"), ("/proc/nowhere", "No such")],
)
def test_a_folder_that_cannot_be_made(root, reason, cl_train_here, tmp_path: Path) -> None:
    """Exit code 5 at the start: the path and the reason on one line."""
    if root.startswith("/proc") and not Path("/proc").is_dir():
        pytest.skip("no /proc here")
    (tmp_path / "file").touch()
    done = cl_train_here(*TINY[:3], f"output_root={root}", "name=run")
    assert done.returncode == 5
    (line,) = done.stderr.splitlines()
    assert line.startswith("storage error: ") and root in line and reason in line
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_file_that_may_not_grow(cl_train_beside, cl_train_here, tmp_path: Path) -> None:
    """Exit code 5 at the first checkpoint that is too large: what failed, and what is left."""
    arguments = [*TINY[:2], *TINY[3:]]
    limit = (100_000, 100_000)
    child = cl_train_beside(
        *arguments, first=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    )
    assert exit_code(child) == 5
    line = (tmp_path / "stderr").read_text().splitlines()[-1]
    assert "File too large; no checkpoint is left" in line
    folder = tmp_path / "run"
    assert not list(folder.rglob("*.part"))
    assert json.loads((folder / "status.json").read_text())["error"] == line
    assert cl_train_here("resume=run").returncode == 0


def on_a_small_disk(tmp_path: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script on a disk of one megabyte, and keep its files."""
    (tmp_path / "small").mkdir()
    mount = "mount -t tmpfs -o size=1m tmpfs small && cd small"
    whole = f"{mount}; {script}; code=$?; cp -r . ../kept; exit $code"
    return subprocess.run(
        ["unshare", "-rm", "bash", "-c", whole], cwd=tmp_path, capture_output=True, text=True
    )


@own_disk
def test_a_disk_that_is_full_at_a_checkpoint(cl_train_here, tmp_path: Path) -> None:
    """Exit code 5; the previous checkpoint is whole, and with space the run continues from it."""
    command = [sys.executable, "-m", "cl_runner.train", "epochs=1", "strategy=rehearsal_kd",
               "model.widths=[128,128]", "output_root=.", "name=run", "threads=1"]  # fmt: skip
    done = on_a_small_disk(tmp_path, " ".join(f"'{word}'" for word in command))
    assert done.returncode == 5, done.stderr
    line = done.stderr.splitlines()[-1]
    assert "disk full while writing" in line and " bytes needed, " in line
    assert "the last good checkpoint is task-00" in line
    assert not list((tmp_path / "kept").rglob("*.part"))
    assert cl_train_here("resume=kept/run").returncode == 0


@pytest.mark.parametrize("file", ["metrics.jsonl", "predictions.npz", "results.json", "log.txt"])
def test_a_disk_that_is_full_at_another_file(
    file, cl_train_here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 5, naming the file; with space the run ends as if nothing had happened."""
    assert cl_train_here(*TINY, "name=whole").returncode == 0
    write, replace = os.write, os.replace

    def full(descriptor: int, data: bytes) -> int:
        if os.readlink(f"/proc/self/fd/{descriptor}").split("/")[-1] in (file, f"{file}.part"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data)

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("no /proc here")
    with monkeypatch.context() as patch:
        patch.setattr(storage, "os", SimpleNamespace(**{**vars(os), "write": full}))
        done = cl_train_here(*TINY)
    assert done.returncode == 5
    assert done.stderr.splitlines()[-1].endswith(f"{file}: No space left on device")
    assert replace is os.replace
    assert cl_train_here("resume=run").returncode == 0
    for name in ("metrics.jsonl", "predictions.npz"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_run_folder_that_is_a_link_is_refused(cl_train_here, tmp_path: Path) -> None:
    """A link could lead outside the output root: exit code 2."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    done = cl_train_here(*TINY)
    assert done.returncode == 2 and "is a symbolic link" in done.stderr
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("link", [".lock", "log.txt", "metrics.jsonl", "checkpoint", "wandb"])
def test_nothing_is_written_behind_a_link_in_a_run_folder(link, cl_train_here, tmp_path) -> None:
    """A run folder may come from someone else: exit code 5, and the target is unchanged."""
    assert cl_train_here(*TINY).returncode == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    is_folder = link in ("checkpoint", "wandb")
    place = tmp_path / "run" / link
    if place.exists():
        place.rename(tmp_path / "moved")
    place.symlink_to(tmp_path / "mine" / ("" if is_folder else "file"))
    status = json.loads((tmp_path / "run" / "status.json").read_text()) | {"status": "failed"}
    (tmp_path / "run" / "status.json").write_text(json.dumps(status))
    done = cl_train_here("resume=run")
    assert done.returncode == 5 and done.stderr.startswith(
        f"storage error: {place} is a symbolic link, "
    )
    assert [(p.name, p.read_text()) for p in (tmp_path / "mine").iterdir()] == [("file", "mine")]


@pytest.mark.parametrize("name", [".lock", "metrics.jsonl", "log.txt", "checkpoint/x.ckpt"])
def test_a_pipe_in_a_run_folder_is_refused_and_not_waited_for(
    name: str, cl_train_here, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert cl_train_here(*TINY).returncode == 0
    status = json.loads((run / "status.json").read_text()) | {"status": "failed"}
    (run / "status.json").write_text(json.dumps(status))
    (run / name).unlink(missing_ok=True)
    os.mkfifo(run / name)
    done = cl_train_here("resume=run")
    assert done.returncode == 5 and f"{run / name} is neither a file nor a folder" in done.stderr
    assert not storage.is_locked(run)


def test_a_checkpoint_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.ckpt")
    with pytest.raises(Unusable, match="not a regular file"):
        unpacked(tmp_path / "x.ckpt")
