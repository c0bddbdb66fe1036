"""torchvision's data sets, in small files of the same format; nothing is downloaded in a run."""

from __future__ import annotations

import hashlib
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from running import composed, run_here
from scipy.io import savemat
from torchvision import datasets

from cl_runner.data import omniglot, prepare
from cl_runner.data.source import read
from cl_runner.data.tiny_imagenet import TinyImageNet
from cl_runner.data.torchvision_sets import TorchVision
from cl_runner.errors import ConfigError, DataError

DRAW = np.random.default_rng(0)
TRAIN, TEST = {"train": True}, {"train": False}


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("download_url", "download_and_extract_archive"):
        for module in (datasets.cifar, datasets.svhn, datasets.mnist):
            monkeypatch.setattr(module, name, forbidden, raising=False)


def forbidden(*arguments: Any, **others: Any) -> None:
    raise AssertionError("a download")


def source(dataset: str, classes: int, train: Any = TRAIN, test: Any = TEST, **changed: Any):
    shape = {"size": 32, "channels": 3} | changed
    return TorchVision(dataset=dataset, classes=classes, train=train, test=test, **shape)


def cifar(root: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """CIFAR-10 as its pickled batches, 40 pictures in each; the digests are those of the files."""
    folder, pictures = root / "cifar-10-batches-py", {}
    folder.mkdir(parents=True)
    for name in [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]:
        pictures[name] = DRAW.integers(0, 256, (40, 3072), np.uint8)
        labels = [n % 10 for n in range(40)]
        (folder / name).write_bytes(pickle.dumps({"data": pictures[name], "labels": labels}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))

    def digest(name: str) -> str:
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    lists = [[[name, digest(name)] for name, _ in old]
             for old in (datasets.CIFAR10.train_list, datasets.CIFAR10.test_list)]  # fmt: skip
    for name, new in zip(("train_list", "test_list"), lists, strict=True):
        monkeypatch.setattr(datasets.CIFAR10, name, new)
    meta = datasets.CIFAR10.meta | {"md5": digest("batches.meta")}
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    return pictures


def test_cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = cifar(tmp_path, monkeypatch)
    train, test = read(source("CIFAR10", 10), str(tmp_path))
    expected = np.concatenate([pictures[f"data_batch_{n}"] for n in range(1, 6)])
    assert torch.equal(train.images, torch.from_numpy(expected).view(200, 3, 32, 32))
    assert torch.equal(test.images.flatten(1), torch.from_numpy(pictures["test_batch"]))
    assert test.labels.tolist() == [n % 10 for n in range(40)]
    words = ("dataset=split_cifar10", f"dataset.root={tmp_path}", "epochs=1", "model.widths=[4]",
             "dataset.pixels.flip=true", "dataset.pixels.crop_padding=4")  # fmt: skip
    results = run_here(tmp_path / "run", *words)
    assert [task["train"] for task in results["tasks"]] == [40] * 5


def test_another_size_and_grey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = cifar(tmp_path, monkeypatch)
    _, test = read(source("CIFAR10", 10, size=20, channels=1), str(tmp_path))
    first = pictures["test_batch"][0].reshape(3, 32, 32).transpose(1, 2, 0)
    made = Image.fromarray(first).convert("L").resize((20, 20), Image.Resampling.BILINEAR)
    assert np.array_equal(test.images[0, 0], np.asarray(made))


def test_other_bytes_are_not_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cifar(tmp_path, monkeypatch)
    file = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    file.write_bytes(file.read_bytes() + b".")
    with pytest.raises(DataError, match=r"CIFAR10 cannot be read from .*: Dataset not found or cor"
                                        r".*; run: cl-data prepare cifar10 --root "):  # fmt: skip
        source("CIFAR10", 10).load(str(tmp_path))


def idx(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    head = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    path.write_bytes(head + values.astype(np.uint8).tobytes())


@pytest.mark.parametrize("dataset", ["KMNIST", "EMNIST"])
def test_the_format_of_mnist(dataset: str, tmp_path: Path) -> None:
    folder, pictures = tmp_path / dataset / "raw", DRAW.integers(0, 256, (47, 28, 28), np.uint8)
    options: tuple[Any, Any] = (TRAIN, TEST)
    prefixes, classes = ("train", "t10k"), 10
    if dataset == "EMNIST":
        options = tuple({"split": "balanced"} | each for each in options)
        prefixes, classes = ("emnist-balanced-train", "emnist-balanced-test"), 47
    for prefix in prefixes:
        idx(folder / f"{prefix}-images-idx3-ubyte", pictures)
        idx(folder / f"{prefix}-labels-idx1-ubyte", np.arange(47) % classes)
    made = source(dataset, classes, *options, size=28, channels=1)
    for split in read(made, str(tmp_path)):
        assert torch.equal(split.images[:, 0], torch.from_numpy(pictures))
        assert split.labels.tolist() == (np.arange(47) % classes).tolist()
    shipped = composed(f"dataset=split_{dataset.lower()}", f"dataset.root={tmp_path}").dataset
    assert (shipped.source.classes, shipped.source.shape) == (classes, (1, 28, 28))
    assert sum(shipped.sizes) == classes and max(shipped.sizes) - min(shipped.sizes) <= 1
    in_colour = read(source(dataset, classes, *options), str(tmp_path))[0].images
    assert in_colour.shape == (47, 3, 32, 32) and torch.equal(in_colour[:, 0], in_colour[:, 2])


def test_a_loader_opens_no_format_that_starts_a_program(tmp_path: Path) -> None:
    """EPS under another name: PIL would call Ghostscript."""
    for kind in ("a", "b"):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "x.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n")
    with pytest.raises(DataError, match=r"x\.jpg cannot be decoded: it is none of BMP"):
        source("ImageFolder", 2, {}, {}).load(str(tmp_path))


def test_svhn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = DRAW.integers(0, 256, (20, 32, 32, 3), np.uint8)
    digits = np.arange(1, 21).reshape(-1, 1) % 10
    listed = dict(datasets.SVHN.split_list)
    for kind in ("train", "test"):
        file = tmp_path / f"{kind}_32x32.mat"
        savemat(file, {"X": pictures.transpose(1, 2, 3, 0), "y": np.where(digits, digits, 10)})
        listed[kind] = [*listed[kind][:2], hashlib.md5(file.read_bytes()).hexdigest()]
    monkeypatch.setattr(datasets.SVHN, "split_list", listed)
    train, _ = read(source("SVHN", 10, {"split": "train"}, {"split": "test"}), str(tmp_path))
    assert torch.equal(train.images, torch.from_numpy(pictures).permute(0, 3, 1, 2))
    assert train.labels.tolist() == digits.flatten().tolist()


@pytest.mark.parametrize("name", ["CIFAR1O", "os", "VisionDataset2", "cifar", "__all__", ""])
def test_only_classes_of_pictures_are_taken(name: str) -> None:
    with pytest.raises(ConfigError, match="is not a class of pictures in torchvision"):
        source(name, 10)


@pytest.mark.parametrize("option", ["download", "root", "transform", "loader", "trian"])
def test_only_options_of_the_class_are_taken(option: str) -> None:
    with pytest.raises(ConfigError, match=rf"^config error: test\.{option}=.*is no option of CIF"):
        source("CIFAR10", 10, TRAIN, {option: True})


def test_what_is_not_there_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    for dataset, options in (("CIFAR100", TRAIN), ("SVHN", {"split": "train"}), ("KMNIST", TRAIN)):
        with pytest.raises(DataError, match=f"cl-data prepare {dataset.lower()} --root") as raised:
            source(dataset, 100, options, options).load(str(tmp_path))
        assert "\n" not in str(raised.value)


def test_preparing_puts_it_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the host delivers the unpacked archive, and the archive."""
    served, root = tmp_path / "served", tmp_path / "root"
    cifar(served, monkeypatch)

    def download(self: Any) -> None:
        for file in (served / "cifar-10-batches-py").iterdir():
            place = Path(self.root) / "cifar-10-batches-py" / file.name
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(file.read_bytes())
        (Path(self.root) / "cifar-10-python.tar.gz").write_bytes(b"packed")

    monkeypatch.setattr(datasets.CIFAR10, "download", download)
    prepare.prepare("cifar10", str(root))
    assert sorted(p.name for p in root.iterdir()) == [".cifar10.lock", "cifar-10-batches-py"]
    monkeypatch.setattr(datasets.CIFAR10, "download", forbidden)
    prepare.prepare("cifar10", str(root))
    assert len(source("CIFAR10", 10).load(str(root))[0].labels) == 200


def test_the_order_of_seed_1993(tmp_path: Path) -> None:
    """As published lists of it begin (PODNet and DER on ImageNet-100)."""
    made = composed("dataset=split_cifar100", "dataset.class_order=seed_1993").dataset.outline(7)
    assert made.labels[0] == [68, 56, 78, 8, 23, 84, 90, 65, 74, 76]
    assert made.labels[9][-3:] == [49, 57, 33] and len(made.labels) == 10


def test_all_classes_in_equal_parts() -> None:
    made = composed("dataset=gtsrb", "dataset.classes_per_task=null").dataset
    assert made.sizes == [9, 9, 9, 8, 8]
    with pytest.raises(ConfigError, match="tasks=44: is too many: gtsrb has 43 classes"):
        composed("dataset=gtsrb", "dataset.classes_per_task=null", "dataset.tasks=44")


def test_omniglot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sets, by alphabet, character and drawing; the last four of twenty are tested."""
    few = {"images_background": {"B": 2, "A": 1}, "images_evaluation": {"C": 1}}
    for name, alphabets in few.items():
        for alphabet, count in alphabets.items():
            for character in range(1, count + 1):
                for n in range(1, 21):
                    folder = tmp_path / "omniglot-py" / name / alphabet / f"character{character:02}"
                    folder.mkdir(parents=True, exist_ok=True)
                    ink = Image.new("1", (105, 105), n % 2)
                    ink.save(folder / f"{100 * character}_{n:02}.png")
    assert sum(sum(alphabets.values()) for alphabets in omniglot.SETS.values()) == 1623
    monkeypatch.setattr(omniglot, "SETS", few)
    made = composed("dataset=split_omniglot", f"dataset.root={tmp_path}").dataset
    stream = made.load(seed=0, scope="seen", device="cpu")
    assert [task.name for task in stream.tasks] == ["B", "A", "C"]
    assert [task.labels for task in stream.tasks] == [[0, 1], [2], [3]]
    assert [len(task.train) for task in stream.tasks] == [32, 16, 16]
    assert [len(samples) for samples in stream.test] == [8, 4, 4]
    assert stream.tasks[0].train.raw[:3, 0, 0, 0].tolist() == [255, 0, 255]
    assert stream.test[0].y.tolist() == [0] * 4 + [1] * 4
    (folder / "100_07.png").unlink()
    words = r"character01 has 19 of 20 entries; run: cl-data prepare omniglot --root"
    with pytest.raises(DataError, match=words):
        made.load(seed=0, scope="seen", device="cpu")


def test_tiny_imagenet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "tiny-imagenet-200"
    for number, name in enumerate(("n02", "n01")):
        for n in range(2):
            place = folder / "train" / name / "images" / f"{name}_{n}.JPEG"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (64, 64), 100 * number).save(place)
    (folder / "wnids.txt").write_text("n02\nn01\n")
    (folder / "val" / "images").mkdir(parents=True)
    Image.new("RGB", (64, 64), (200, 0, 0)).save(folder / "val" / "images" / "val_0.JPEG")
    annotations = folder / "val" / "val_annotations.txt"
    annotations.write_text("val_0.JPEG\tn02\t0\t0\t62\t62\n")
    made = TinyImageNet(size=32, channels=3)
    train, test = made.load(str(tmp_path))
    assert train.labels.tolist() == [0, 0, 1, 1] and test.labels.tolist() == [1]
    assert train.images[:, 0, 0, 0].tolist() == [100, 100, 0, 0]
    assert test.images.shape == (1, 3, 32, 32)
    for content, words in (("val_0.JPEG n99\n", "is damaged"), ("x\n", "is damaged"),
                           ("../../../s.JPEG n02\n", "val/images/s.JPEG is missing")):  # fmt: skip
        annotations.write_text(content)
        with pytest.raises(DataError, match=words):
            made.load(str(tmp_path))
    annotations.unlink()
    with pytest.raises(DataError, match=r"val_annotations.txt: No such.*has to be unpacked"):
        made.load(str(tmp_path))
