"""Data of one's own: seconds to read a folder of pictures, and memory of a data set that is mapped.

    python scripts/benchmark_data.py FOLDER      # with train/ and test/, a folder for each class
    python scripts/benchmark_data.py --mapped 4  # gigabytes

The first prints the seconds of the first use (decoding), of the second, and of a loop over
torchvision's ImageFolder, on one thread each. The second exits with 1 if a run on a file of so many
gigabytes holds a gigabyte more than one on a small file.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from benchmark_memory import CHILD

BAR = 1024.0  # MiB
SHAPE = (3, 32, 32)
BLOCK = 10_000  # pictures written at a time
RUN = ("dataset=arrays", "model.widths=[32]", "epochs=null", "steps=200", "batch_size=256",
       "threads=1", "output_root=.", "name=run", "dataset.source.layout=NCHW",
       *(f"dataset.source.{kind}_{what}={kind}_{what}.npy"
         for kind in ("train", "test") for what in ("inputs", "labels")))  # fmt: skip
MAPPED = f"import cl_runner.data.arrays as arrays; arrays.SHARE = 0\n{CHILD}"


def write(folder: Path, kind: str, count: int) -> None:
    """Random pictures and their classes, as the run expects them."""
    draw = np.random.default_rng(0)
    block = draw.integers(0, 256, (BLOCK, *SHAPE), np.uint8)
    # Not through a mapping: what this process holds, a child would be said to have held.
    with (folder / f"{kind}_inputs.npy").open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, *SHAPE)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, count, BLOCK):
            file.write(block[: count - start].data)
    np.save(folder / f"{kind}_labels.npy", np.arange(count) % 10)


def peak(gigabytes: float) -> float:
    """MiB that a run held at most whose training pictures are mapped."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, "train", max(1000, int(gigabytes * 1e9 / np.prod(SHAPE))))
        write(folder, "test", 1000)
        command = [sys.executable, "-c", MAPPED, *RUN, "dataset.root=."]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        return int((folder / "peak").read_text()) / 1024


def seconds_of_folder(folder: Path) -> None:
    """Print the seconds of both uses and of torchvision's loop."""
    from torchvision.datasets import ImageFolder as Theirs
    from torchvision.transforms.functional import pil_to_tensor

    from cl_runner.data.image_folder import ImageFolder

    def ours() -> None:
        source = ImageFolder(root=str(folder), size=32, channels=3, test_fraction=None,
                             split_seed=0, on_error="stop")  # fmt: skip
        source.load("")

    def theirs() -> None:
        for kind in ("train", "test"):
            for picture, _ in Theirs(str(folder / kind)):
                pil_to_tensor(picture)

    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # threads, too, share one processor
    with TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        for title, work in (("torchvision's loop", theirs), ("first use", ours),
                            ("second use", ours), ("torchvision's loop", theirs)):  # fmt: skip
            start, cpu = time.perf_counter(), time.process_time()
            work()
            wall, own = time.perf_counter() - start, time.process_time() - cpu
            print(f"{title:20} {wall:7.2f} s, {own:7.2f} s of the processor", flush=True)


def main() -> None:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--mapped", type=float, metavar="GB")
    arguments = parser.parse_args()
    if arguments.folder:
        seconds_of_folder(arguments.folder)
    if arguments.mapped:
        small, large = peak(0.01), peak(arguments.mapped)
        print(f"peak memory: {small:.0f} MiB small, {large:.0f} MiB with {arguments.mapped:g} GB")
        sys.exit(large - small > BAR)


if __name__ == "__main__":
    main()
