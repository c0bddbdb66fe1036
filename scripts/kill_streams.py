"""The streams that the kill campaign trains on: every kind of cut, scenario and mixing."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

DIGITS = "{_target_:cl_runner.data.digits.Digits}"
PICTURES = ["dataset.pixels.crop_padding=1", "dataset.pixels.flip=true"]
SOME = "dataset.samples_per_task=300"
COUNTED = {
    "classes": PICTURES,
    "tasks": ["dataset.scenario=task_incremental", *PICTURES],
    "domains": ["dataset.scenario=domain_incremental", *PICTURES],
    "one class a task": ["dataset.classes_per_task=1", *PICTURES],
    "unequal tasks": ["dataset.classes_per_task=[3,1]", "dataset.class_order=random", *PICTURES],
    "blurry": ["dataset.blurry=0.2", "ce_scope=all", *PICTURES],
    "blurry domains": ["dataset.scenario=domain_incremental", "dataset.blurry=0.3"],
    "repeating": ["dataset.repetition=0.3", "dataset.samples_per_task=200"],
    "repeating tasks": ["dataset.scenario=task_incremental", "dataset.repetition=0.3", *PICTURES],
    "permutations": ["dataset=permuted_mnist", f"dataset.source={DIGITS}", SOME],
    "rotations": ["dataset=rotated_mnist", f"dataset.source={DIGITS}", SOME, *PICTURES],
    "folders": ["dataset=image_folder", "dataset.source.size=8", "batch_size=10", *PICTURES],
    "features": ["dataset=arrays", "batch_size=15"],
}
"""Those that have a number of tasks."""
OTHERS = {
    "sources": ["dataset=mnist_to_fashion", f"dataset.sources=[{DIGITS},{DIGITS}]", SOME],
    "column": ["dataset=csv", "dataset.source.size=8", "batch_size=10", *PICTURES],
    "numbers": ["dataset=regression_rbf", "batch_size=10", "dataset.repetition=0.2"],
}
AVALANCHE = {
    "experiences": ["dataset=avalanche", "dataset.arguments={n_experiences: 2}", "batch_size=5"],
}
STREAMS = COUNTED | OTHERS | (AVALANCHE if find_spec("avalanche") else {})


def words(name: str, tasks: int, folder: Path) -> list[str]:
    """The overrides that choose a stream. folder: where its files are, as `write` makes them."""
    count = [f"dataset.tasks={tasks}"] if name in COUNTED else []
    root = [] if name == "numbers" else [f"dataset.root={folder}"]
    return [*STREAMS[name], *count, *root]


def write(folder: Path) -> None:
    """Small files for the streams that are read from files."""
    draw = np.random.default_rng(0)
    lines, labels = ["path,label,split,task"], np.arange(60) % 6
    features: dict[str, Any] = {}
    for kind in ("train", "test"):
        for number in range(60):
            path = f"{kind}/{labels[number]}/{number}.png"
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            pixels = draw.integers(0, 40, (8, 8, 3)) + 35 * labels[number]
            Image.fromarray(pixels.astype(np.uint8)).save(folder / path)
            lines.append(f"{path},{labels[number] // 2},{kind},{'day' if number % 2 else 'night'}")
        rows = draw.normal(size=(60, 9)) + labels[:, None]
        features |= {f"x_{kind}": rows.astype(np.float32), f"y_{kind}": labels}
    np.savez(folder / "data.npz", allow_pickle=False, **features)
    (folder / "samples.csv").write_text("\n".join(lines) + "\n")
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for kind in ("train", "t10k"):
        pictures = draw.integers(0, 256, (40, 28, 28), np.uint8)
        digits = (np.arange(40) % 10).astype(np.uint8)
        for ending, values in (("images-idx3-ubyte", pictures), ("labels-idx1-ubyte", digits)):
            header = np.array([0x800 + values.ndim, *values.shape], ">i4").tobytes()
            (raw / f"{kind}-{ending}").write_bytes(header + values.tobytes())
