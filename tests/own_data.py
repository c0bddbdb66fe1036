"""Small data sets of a user's own, as files: folders of pictures, arrays, a CSV file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"cat": (200, 40, 40), "dog": (40, 200, 40), "fox": (40, 40, 200), "owl": (190, 190, 40)}


def picture(path: Path, colour: Sequence[int], number: int, size: tuple[int, int] = (9, 7)) -> None:
    """Of one colour, with a pixel that tells it from others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = Image.new("RGB", size, tuple(colour))
    made.putpixel((0, 0), (40 * number % 256,) * 3)
    made.save(path)


def folders(root: Path, each: int = 3, ending: str = "png") -> Path:
    """train/ and test/ with a folder for each class."""
    for kind in ("train", "test"):
        for name, colour in COLOURS.items():
            for n in range(each):
                picture(root / kind / name / f"{n}.{ending}", colour, n)
    return root


def tree(root: Path, each: int = 5) -> Path:
    """A folder for each class, and no splits."""
    for name, colour in COLOURS.items():
        for n in range(each):
            picture(root / name / f"{n}.png", colour, n)
    return root


def arrays(root: Path, each: int = 20) -> Path:
    """data.npz: features of four classes."""
    draw = np.random.default_rng(0)
    centres, found = draw.normal(size=(4, 6)), {}
    for kind in ("train", "test"):
        y = np.arange(4 * each) % 4
        found[f"x_{kind}"] = (centres[y] + 0.2 * draw.normal(size=(len(y), 6))).astype(np.float32)
        found[f"y_{kind}"] = y
    root.mkdir(parents=True, exist_ok=True)
    np.savez(root / "data.npz", **found)
    return root


def listed(root: Path, each: int = 2) -> Path:
    """samples.csv: two classes in two tasks, the second in darker pictures."""
    lines = ["path,label,split,task,group"]
    for task, factor in (("day", 1.0), ("night", 0.3)):
        for kind in ("train", "test"):
            for label in ("cat", "dog"):
                for n in range(each):
                    path = f"pictures/{task}/{kind}/{label}{n}.png"
                    picture(root / path, [int(factor * c) for c in COLOURS[label]], n)
                    lines.append(f"{path},{label},{kind},{task},{label}{n // 2}")
    (root / "samples.csv").write_text("\n".join(lines) + "\n")
    return root


def mnist(root: Path, each: int = 3) -> Path:
    """MNIST/raw/: a few grey pictures of ten classes, in the format of its files."""
    draw, folder = np.random.default_rng(0), root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for kind in ("train", "t10k"):
        labels = np.arange(10 * each, dtype=np.uint8) % 10
        pictures = draw.integers(0, 256, (len(labels), 28, 28), np.uint8)
        for name, values in (("images-idx3", pictures), ("labels-idx1", labels)):
            header = np.array([0x800 + values.ndim, *values.shape], ">i4")
            (folder / f"{kind}-{name}-ubyte").write_bytes(header.tobytes() + values.tobytes())
    return root


def write_all(root: Path) -> None:
    """What every data set among the options needs to be built."""
    for make in (folders, arrays, listed, mnist):
        make(root)
    for letter in "ABCDEFGHIJ":
        (root / "notMNIST_small" / letter).mkdir(parents=True)
