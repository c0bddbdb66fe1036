"""Pictures in folders: what is read, how it is split, and what is wrong in one line."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import own_data
import pytest
import torch
from PIL import Image
from running import run_here
from torchvision.datasets import ImageFolder as Theirs

from cl_runner import machine
from cl_runner.data import pictures
from cl_runner.data.arrays import OutOfCore
from cl_runner.data.image_folder import ImageFolder
from cl_runner.data.source import Split, read
from cl_runner.errors import DataError
from cl_runner.run_folder import read as read_folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def source(root: Path, **changed: Any) -> ImageFolder:
    settings = {"size": 8, "channels": 3, "test_fraction": None, "split_seed": 0,
                "on_error": "stop"}  # fmt: skip
    return ImageFolder(root=str(root), **settings | changed)


def loaded(root: Path, **changed: Any) -> tuple[Split, Split]:
    return read(source(root, **changed), "")


@pytest.mark.parametrize("channels", [1, 3])
def test_it_reads_what_torchvision_reads(tmp_path: Path, channels: int) -> None:
    """The oracle resizes and converts each picture by hand."""
    root = own_data.folders(tmp_path / "mine")
    own_data.picture(root / "train" / "owl" / "deep" / "er" / "LOUD.PNG", (1, 2, 3), 4, (30, 11))
    own_data.picture(root / "train" / "owl" / "x.Jpeg", (5, 99, 3), 4, (8, 8))
    Image.new("RGBA", (5, 5), (250, 1, 1, 0)).save(root / "test" / "cat" / "clear.png")
    Image.new("P", (5, 5), 3).save(root / "test" / "cat" / "palette.gif")
    train, test = loaded(root, channels=channels)
    for split, kind in ((train, "train"), (test, "test")):
        theirs = Theirs(root / kind, is_valid_file=lambda name: True)
        assert source(root).class_names == theirs.classes
        assert split.labels.tolist() == theirs.targets
        mode = "L" if channels == 1 else "RGB"
        for image, (path, _) in zip(split.images, sorted(theirs.samples), strict=True):
            with Image.open(path) as file:
                made = file.convert(mode).resize((8, 8), Image.Resampling.BILINEAR)
            assert np.array_equal(np.asarray(made).reshape(8, 8, -1), image.permute(1, 2, 0))


@pytest.mark.parametrize(("each", "fraction", "tested"), [(5, 0.2, 1), (5, 0.5, 2), (2, 0.01, 1),
                                                          (3, 0.99, 2)])  # fmt: skip
def test_one_tree_is_split_class_by_class(tmp_path, each: int, fraction: float, tested: int):
    roots = [own_data.tree(tmp_path / name, each) for name in ("here", "there")]
    train, test = loaded(roots[0], test_fraction=fraction)
    assert test.labels.bincount().tolist() == [tested] * 4
    assert train.labels.bincount().tolist() == [each - tested] * 4
    both = torch.cat([train.images, test.images]).flatten(1).unique(dim=0)
    assert len(both) == 4 * each  # each picture is in one of them
    again = loaded(roots[1], test_fraction=fraction)[1]
    assert torch.equal(again.images, test.images)  # wherever the tree lies
    others = [loaded(roots[0], test_fraction=fraction, split_seed=s)[1].images for s in range(1, 6)]
    assert any(not torch.equal(other, test.images) for other in others)


def test_a_run_shows_the_names_of_classes(tmp_path: Path) -> None:
    """In the report, too."""
    own_data.folders(tmp_path / "mine", 20)
    results = run_here(tmp_path / "run", "dataset=image_folder", "epochs=10", "model.widths=[8]",
                       "dataset.class_order=[3,0,1,2]", f"dataset.root={tmp_path / 'mine'}",
                       "dataset.source.size=4", "optimizer.lr=0.1")  # fmt: skip
    assert [task["name"] for task in results["tasks"]] == ["classes owl, cat", "classes dog, fox"]
    assert [task["classes"] for task in results["tasks"]] == [[3, 0], [1, 2]]
    assert [task["class_names"] for task in results["tasks"]] == [["owl", "cat"], ["dog", "fox"]]
    assert results["accuracy"][0][0] == 1.0  # colours are easy
    assert read_folder.results(tmp_path / "run").class_labels == ["owl", "cat", "dog", "fox"]


def test_grey_and_coloured_pictures_are_kept_apart(tmp_path: Path, own_cache: Path) -> None:
    root = own_data.folders(tmp_path / "mine")
    for channels in (1, 3, 1):
        source(root, channels=channels).load("")
    assert len([*own_cache.rglob("*.uint8")]) == 4  # of both splits


def bad(root: Path, count: int = 3) -> list[Path]:
    files = sorted((root / "train" / "dog").iterdir())[:count]
    for n, file in enumerate(files):
        file.write_bytes([b"", b"no picture", file.read_bytes()[:40]][n % 3])
    return files


def test_all_pictures_that_cannot_be_read_are_named(tmp_path: Path, own_cache: Path) -> None:
    root = own_data.folders(tmp_path / "mine", 4)
    files = bad(root)
    with pytest.raises(DataError) as raised:
        loaded(root)
    line = str(raised.value)
    assert line.startswith("data error: 3 of 16 pictures cannot be read: ") and "\n" not in line
    assert line.endswith(". Hint: dataset.source.on_error=skip leaves them out")
    assert all(line.count(str(file)) == 1 for file in files) and "is empty" in line
    assert not [f for f in own_cache.rglob("*") if f.suffix in (".part", ".uint8")]


def test_pictures_that_cannot_be_read_may_be_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """From the cache, too, and where there is none; and `stop` does not take that cache."""
    root = own_data.folders(tmp_path / "mine", 4)
    whole = loaded(root)[0]
    left = torch.ones(16, dtype=torch.bool)
    left[4:7] = False
    files = bad(root)
    for cache in ("cache", "cache", str(files[0])):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / cache))
        caplog.clear()
        train, test = loaded(root, on_error="skip")
        assert torch.equal(train.images, whole.images[left])
        assert torch.equal(train.labels, whole.labels[left]) and len(test.labels) == 16
        (line,) = [r.getMessage() for r in caplog.records]
        assert line.startswith("3 of 16 pictures cannot be read and are left out: ")
        assert str(files[2]) in line
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(DataError, match="3 of 16 pictures cannot be read"):
        loaded(root)


def test_decoding_that_stops_midway_leaves_nothing(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = own_data.folders(tmp_path / "mine")
    monkeypatch.setattr(pictures, "PART", 5)
    good = loaded(root)[0].images
    for file in own_cache.rglob("*.uint8"):
        file.unlink()
    make, calls = pictures.as_tensor, []

    def interrupted(*arguments: Any) -> torch.Tensor:
        calls.append(arguments)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return make(*arguments)

    monkeypatch.setattr(pictures, "as_tensor", interrupted)
    with pytest.raises(KeyboardInterrupt):
        loaded(root)
    assert {file.suffix for file in own_cache.rglob("*.*")} <= {".lock"}
    next(own_cache.rglob("*.lock")).with_suffix(".part").write_bytes(b"left by a kill")
    monkeypatch.setattr(pictures, "as_tensor", make)
    assert torch.equal(loaded(root)[0].images, good)
    assert not list(own_cache.rglob("*.part"))


def test_mapped_pictures_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = own_data.folders(tmp_path / "mine")
    bad(root)
    whole = loaded(root, on_error="skip")
    monkeypatch.setattr(machine, "free_memory", lambda device="cpu": 0)
    for one, other in zip(whole, loaded(root, on_error="skip"), strict=True):
        assert isinstance(other.images, OutOfCore)
        assert torch.equal(other.images.to("cpu"), one.images)
        assert torch.equal(other.labels, one.labels)


def remove(path: Path) -> None:
    for file in sorted(path.rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    path.rmdir()


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (remove, "No such file or directory. Hint: dataset.root=FOLDER is the folder of"),
    "no split": (lambda r: os.rename(r / "test", r / "tests"), "has no folders train and test; one "
                 "tree of classes needs dataset.source.test_fraction=0.2"),
    "nothing": (lambda r: [remove(r / k) for k in ("train", "test")], "no folders train and test"),
    "no class": (lambda r: [remove(r / k / c) for k in ("train", "test") for c in own_data.COLOURS],
                 "no folders of classes"),
    "one class": (lambda r: [remove(r / k / c) for k in ("train", "test")
                             for c in ("cat", "dog", "fox")], "has one class, owl"),
    "only tested": (lambda r: remove(r / "train" / "dog"), "class dog is in .*/test, but not in"),
    "not tested": (lambda r: remove(r / "test" / "dog"), "class dog is in .*/train, but not in"),
    "empty class": (lambda r: [f.unlink() for f in (r / "test" / "fox").iterdir()],
                    "test/fox has no picture"),
    "loose pictures": (lambda r: own_data.picture(r / "train" / "z.png", (0, 0, 0), 0),
                       "train has 1 picture outside the folders of classes: z.png"),
    "a bomb": (lambda r: (r / "train" / "owl" / "b.ppm").write_bytes(b"P6 20000 10000 255 "),
               "b.ppm cannot be decoded: its header says that it has more than"),
    "a smaller bomb": (lambda r: (r / "train" / "owl" / "b.ppm").write_bytes(b"P6 9999 9999 255 "),
                       "b.ppm cannot be decoded: its header says that it has more than"),
    "16 bits": (lambda r: Image.fromarray(np.zeros((5, 5), np.uint16)).save(
        r / "train" / "owl" / "deep.png"), "deep.png has more than 8 bits"),
    "EPS": (lambda r: (r / "train" / "owl" / "e.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n"),
            "e.png cannot be decoded: it is none of BMP"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_line(case: str, tmp_path: Path) -> None:
    root = own_data.folders(tmp_path / "mine")
    damage, words = WRONG[case]
    damage(root)
    with pytest.raises(DataError, match=words) as raised:
        loaded(root)
    assert raised.value.exit_code == 4 and "\n" not in str(raised.value)


def test_splits_are_not_taken_for_classes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"test split of its own, test/; use .*test_fraction=null"):
        source(own_data.folders(tmp_path / "mine"), test_fraction=0.2)


def test_a_class_of_one_picture_cannot_be_split(tmp_path: Path) -> None:
    root = own_data.tree(tmp_path / "mine", 2)
    (root / "fox" / "1.png").unlink()
    with pytest.raises(DataError, match="fox has one picture"):
        loaded(root, test_fraction=0.5)


def test_other_files_are_ignored_and_counted(tmp_path: Path, caplog) -> None:
    root = own_data.folders(tmp_path / "mine")
    for name in ("notes.txt", "boxes.csv", ".DS_Store"):
        (root / "train" / "dog" / name).touch()
    train, _ = loaded(root)
    assert len(train.labels) == 12
    (line,) = [r.getMessage() for r in caplog.records]
    assert line.endswith("train: 2 files, such as train/dog/boxes.csv")
