"""Arrays as a data set: layouts, features, mapped files, and what is wrong in one line."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import own_data
import pytest
import torch
from running import composed, final_state, run_here

from cl_runner import machine
from cl_runner.data.array_source import ArrayFiles
from cl_runner.data.arrays import OutOfCore
from cl_runner.data.cuts import ByPermutation
from cl_runner.data.rotation import ByRotation
from cl_runner.data.samples import Pixels
from cl_runner.data.source import read
from cl_runner.errors import ConfigError, DataError

KEYS = {f"{kind}_{what}": f"data.npz:{x}_{kind}" for kind in ("train", "test")
        for what, x in (("inputs", "x"), ("labels", "y"))}  # fmt: skip
DRAW = np.random.default_rng(0)
Y = np.arange(12) % 3


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def source(root: Path, **changed: Any) -> ArrayFiles:
    settings = {"train_groups": None, "class_names": None, "layout": "auto"}
    return ArrayFiles(root=str(root), **KEYS | settings | changed)


def save(root: Path, x: np.ndarray, y: np.ndarray = Y, **others: np.ndarray) -> Path:
    """The same for training and test."""
    arrays = {"x_train": x, "y_train": y, "x_test": x, "y_test": y}
    np.savez(root / "data.npz", **arrays | others)
    return root


def pixels(*shape: int) -> np.ndarray:
    return DRAW.integers(0, 256, (12, *shape), np.uint8)


LAYOUTS = {
    "NHW": (pixels(5, 4), "auto", lambda x: x[:, None]),
    "NHWC": (pixels(5, 4, 3), "auto", lambda x: np.moveaxis(x, 3, 1)),
    "NHW1": (pixels(5, 4, 1), "auto", lambda x: np.moveaxis(x, 3, 1)),
    "NCHW": (pixels(3, 5, 4), "auto", lambda x: x),
    "said NHWC": (pixels(3, 4, 3), "NHWC", lambda x: np.moveaxis(x, 3, 1)),
    "said NCHW": (pixels(3, 4, 3), "NCHW", lambda x: x),
    "cube NHWC": (pixels(3, 3, 3), "NHWC", lambda x: np.moveaxis(x, 3, 1)),
    "two colours": (pixels(5, 4, 2), "NHWC", lambda x: np.moveaxis(x, 3, 1)),
    "Fortran": (np.asfortranarray(pixels(5, 4, 3)), "auto", lambda x: np.moveaxis(x, 3, 1)),
    "features": (DRAW.normal(size=(12, 7)).astype("f4"), "auto", lambda x: x[:, None, None]),
}


@pytest.mark.parametrize("kind", ["npz", "compressed", "npy", "pt", "dictionary in pt"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_read_is_what_was_written(
    layout: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In memory and mapped."""
    x, said, expected = LAYOUTS[layout]
    keys: dict[str, str] = {}
    if kind == "npy":
        np.save(tmp_path / "x.npy", x)
        np.save(tmp_path / "y.npy", Y.astype(np.uint16))
        keys = {key: f"{key[-6]}.npy".replace("i", "x").replace("l", "y") for key in KEYS}
    elif kind == "pt":
        torch.save(torch.from_numpy(x.copy()), tmp_path / "x.pt")
        torch.save(torch.from_numpy(Y), tmp_path / "y.pt")
        keys = {key: f"{key[-6]}.pt".replace("i", "x").replace("l", "y") for key in KEYS}
    elif kind == "dictionary in pt":
        torch.save({"x": torch.from_numpy(x.copy()), "y": torch.from_numpy(Y)}, tmp_path / "d.PT")
        keys = {key: f"d.PT:{'x' if key.endswith('inputs') else 'y'}" for key in KEYS}
    else:
        write = np.savez if kind == "npz" else np.savez_compressed
        write(tmp_path / "data.npz", x_train=x, y_train=Y, x_test=x, y_test=Y)
    made = source(tmp_path, layout=said, **keys)
    whole = torch.from_numpy(np.ascontiguousarray(expected(x)))
    assert made.classes == 3 and made.shape == tuple(whole.shape[1:])
    for free in (10**9, 0):
        monkeypatch.setattr(machine, "free_memory", lambda device="cpu", free=free: free)
        for split in read(made, ""):
            assert isinstance(split.images, OutOfCore) == (free == 0)
            rows = torch.tensor([11, 0, 5])
            assert torch.equal(split.images.index_select(0, rows), whole[rows])
            assert torch.equal(split.images.to("cpu"), whole)
            assert split.labels.tolist() == Y.tolist()


@pytest.mark.parametrize("strategy", ["rehearsal", "icarl", "ewc"])
def test_features_reach_the_network_as_they_are(tmp_path: Path, strategy: str) -> None:
    """A memory keeps them bit for bit, and mapped rows give the same weights."""
    root = own_data.arrays(tmp_path / "mine")
    words = (f"strategy={strategy}", "dataset=arrays", f"dataset.root={root}", "epochs=3",
             "optimizer.lr=0.05",
             "model.widths=[8]", "dataset.pixels.mean=[0.25]", "dataset.pixels.std=[2.0]",
             *(["strategy.buffer_size=8"] * (strategy != "ewc")))  # fmt: skip
    stream = composed(*words).dataset.load(seed=0, scope="seen", device="cpu")
    raw = np.load(root / "data.npz")["x_train"]
    task = stream.tasks[1].train
    expected = torch.from_numpy(raw[np.arange(80) % 4 >= 2])
    assert torch.equal(task.raw.flatten(1), expected)
    assert torch.equal(task.x.flatten(1), (expected - 0.25) / 2.0)
    results = run_here(tmp_path / "run", *words)
    assert results["accuracy"][0][0] > 0.9
    state = final_state(tmp_path / "run")["strategy"]
    memories = [value for key, value in state.items() if key.endswith("memory.images")]
    assert len(memories) == (strategy != "ewc")
    known = {row.tobytes() for row in raw}
    assert all(row.numpy().tobytes() in known for kept in memories for row in kept.flatten(1))


def test_a_mapped_file_gives_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = own_data.arrays(tmp_path / "mine")
    words = ("dataset=arrays", f"dataset.root={root}", "epochs=1", "model.widths=[8]")
    run_here(tmp_path / "one", *words)
    monkeypatch.setattr(machine, "free_memory", lambda device="cpu": 0)
    run_here(tmp_path / "other", *words)
    one, other = (final_state(tmp_path / name)["strategy"] for name in ("one", "other"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_names_and_groups(tmp_path: Path) -> None:
    groups = np.arange(12) // 2
    save(tmp_path, pixels(5, 4), g=groups)
    made = source(tmp_path, train_groups="data.npz:g", class_names=["a", "b", "c"])
    train, test = read(made, "")
    assert train.groups.tolist() == groups.tolist() and test.groups is None
    assert made.class_names == ["a", "b", "c"]
    with pytest.raises(ConfigError, match=r"class_names=.*has 2 names for 3 classes"):
        source(tmp_path, class_names=["a", "b"])


def put(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda root: (root / name).write_bytes(content)


def cut(root: Path) -> None:
    """In the middle of the pictures; the list of what is in the archive stays whole."""
    save(root, pixels(30, 40))
    whole = (root / "data.npz").read_bytes()
    (root / "data.npz").write_bytes(whole[:500] + bytes(200) + whole[700:])


def cut_short(root: Path) -> None:
    whole = (save(root, pixels(5, 4)) / "data.npz").read_bytes()
    (root / "data.npz").write_bytes(whole[:-99])


NAN = np.zeros((12, 5), np.float32)
NAN[7, 2] = np.nan
OBJECTS = np.array([{}] * 12, dtype=object)
WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda r: None, "data.npz is missing"),
    "key": (lambda r: np.savez(r / "data.npz", x=pixels(5, 4)),
            "has no array x_train; it has x; write data.npz:KEY"),
    "count": (lambda r: save(r, pixels(5, 4), y_test=Y[:11]), "has 12 rows, but there are 11 lab"),
    "splits differ": (lambda r: save(r, pixels(5, 4), x_test=pixels(5, 3)),
                      r"uint8 \[12, 5, 4\] but .*uint8 \[12, 5, 3\]"),
    "types differ": (lambda r: save(r, NAN[:, :4], x_test=pixels(1, 4)), "float32 .* but .*uint8"),
    "doubles": (lambda r: save(r, np.zeros((12, 5))), r"is float64 \[12, 5\], must be uint8"),
    "float pictures": (lambda r: save(r, np.zeros((12, 5, 4), "f4")), "is float32 .*, must be"),
    "another byte order": (lambda r: save(r, np.zeros((12, 5), ">f4")), "is >f4 .*, must be"),
    "either axis": (lambda r: save(r, pixels(3, 4, 3)),
                    "either axis; say which it is: dataset.source.layout=NHWC or NCHW"),
    "neither axis": (lambda r: save(r, pixels(5, 4, 2)), "the colours can be either axis"),
    "nothing": (lambda r: save(r, pixels(5, 4)[:0], Y[:0]), r"which is empty|no label"),
    "NaN": (lambda r: save(r, NAN), "row 7 has a feature that is not finite"),
    "real labels": (lambda r: save(r, pixels(5, 4), Y / 1), "is float64 .*must be integers"),
    "labels of two axes": (lambda r: save(r, pixels(5, 4), Y[:, None]), "must be integers"),
    "below 0": (lambda r: save(r, pixels(5, 4), Y - 1), "has label -1, must be 0"),
    "a gap": (lambda r: save(r, pixels(5, 4), 2 * Y), "has label 4, but no label 1"),
    "one class": (lambda r: save(r, pixels(5, 4), 0 * Y), "has one class"),
    "only tested": (lambda r: save(r, pixels(5, 4), y_test=Y + 1),
                    "test split: label 3 of sample 2 is outside 0 … 2"),
    "objects": (lambda r: save(r, OBJECTS), "holds Python objects, not"),
    "objects as labels": (lambda r: save(r, pixels(5, 4), OBJECTS), "holds Python objects, not"),
    "cut zip": (cut_short,
                "data.npz cannot be read: File is not a zip file"),
    "damaged member": (cut, "data.npz cannot be read: Bad CRC-32"),
    "other members": (lambda r: zipfile.ZipFile(r / "data.npz", "w").writestr("x_train", b""),
                      "has no array x_train; it has none"),
    "no zip": (put("data.npz", b"x" * 99), "data.npz cannot be read: File is not a zip file"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_line(case: str, tmp_path: Path) -> None:
    damage, words = WRONG[case]
    damage(tmp_path)
    with pytest.raises(DataError, match=words) as raised:
        read(source(tmp_path), "")
    assert raised.value.exit_code == 4 and "\n" not in str(raised.value)


class Harmful:
    """What a pickle that is opened without care would run."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return open, ("/nowhere/was_run", "w")  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.npy", b"", "cannot be read"),
        ("x.npy", pickle.dumps(Harmful()), "holds Python objects"),
        ("x.npy", b"\x93NUMPY\x01\x00", "cannot be read"),
        ("x.pt", pickle.dumps(Harmful()), "holds Python objects"),
        ("x.pt", b"PK\x03\x04" + bytes(99), "cannot be read|holds Python objects"),
        ("x.csv", b"", "is none of .npy, .npz, .pt"),
    ],
)
def test_a_file_that_is_no_array(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words) as raised:
        source(tmp_path, train_inputs=name)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("value", [[0], [torch.zeros(3)], torch.zeros(3).to_sparse(),
                                   torch.zeros(3, dtype=torch.bfloat16)])  # fmt: skip
def test_a_tensor_that_is_no_array(value: Any, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "x.pt")
    with pytest.raises(DataError, match=r"x\.pt is") as raised:
        source(tmp_path, train_inputs="x.pt")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["dataset.pixels.flip=true"], "dataset.pixels.flip"),
        (["dataset.pixels.padding=1"], "dataset.pixels.padding"),
        (["dataset.pixels.crop_padding=1"], "dataset.pixels.crop_padding"),
        (["dataset.pixels.per_picture=true"], "dataset.pixels.per_picture"),
        (["dataset.pixels.mean=[0.0,1.0,2.0]"], "dataset.pixels"),
    ],
)
def test_what_makes_no_sense_for_features(words: list[str], key: str, tmp_path: Path) -> None:
    root = own_data.arrays(tmp_path)
    with pytest.raises(ConfigError) as raised:
        composed("dataset=arrays", f"dataset.root={root}", *words)
    assert str(raised.value).startswith(f"config error: {key}=")
    assert "features" in str(raised.value) and "\n" not in str(raised.value)


def test_features_can_be_permuted_but_not_turned(tmp_path: Path) -> None:
    made = source(own_data.arrays(tmp_path))
    pixels = Pixels(mean=[0.0], std=[1.0], padding=0, crop_padding=0, flip=False, per_picture=False)
    common = {"source": made, "root": "", "scenario": "domain_incremental", "tasks": 2,
              "samples_per_task": None, "validation_fraction": 0.0, "pixels": pixels,
              "blurry": 0.0, "repetition": 0.0}  # fmt: skip
    cut = ByPermutation(**common, permute_first=False)
    first, second = (t.train.raw for t in cut.load(seed=0, scope="seen", device="cpu").tasks)
    assert not torch.equal(first, second)
    assert torch.equal(first.sort(dim=-1).values, second.sort(dim=-1).values)
    with pytest.raises(ConfigError, match="features cannot be turned"):
        ByRotation(**common, angles="random", rotate_first=False, interpolation="nearest")
