"""MNIST and Fashion-MNIST: 60,000 + 10,000 grey 28 × 28 pictures of 10 classes each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cl_runner.config.targets import target
from cl_runner.data.arrays import stored
from cl_runner.data.source import Split, remedy, verify

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@dataclass(frozen=True)
class FourFiles:
    """A data set in MNIST's format: four files with known digests."""

    name: str
    torchvision_class: str  # also the name of the folder
    sha256: tuple[str, str, str, str]  # of FILES, extracted
    classes: int = 10
    shape: tuple[int, int, int] = (1, 28, 28)

    def load(self, root: str) -> tuple[Split, Split]:
        self.check(root)
        folder = self.folder(root)
        train, test = (self._split(folder, *files) for files in (FILES[:2], FILES[2:]))
        return train, test

    def _split(self, folder: Path, images: str, labels: str) -> Split:
        """Its header is what the digest says it is: of 16 bytes, or of 8 for labels."""
        numbers = torch.from_numpy(np.fromfile(folder / labels, np.uint8, offset=8)).long()
        return Split(stored(folder / images, (len(numbers), *self.shape), offset=16), numbers)

    def check(self, root: str) -> None:
        """Raise DataError unless the four extracted files have the published bytes."""
        for file, digest in zip(FILES, self.sha256, strict=True):
            verify(self.folder(root) / file, digest, remedy(self.name, root))

    def folder(self, root: str) -> Path:
        return Path(root) / self.torchvision_class / "raw"


@target
def mnist() -> FourFiles:
    """Handwritten digits (LeCun et al. 1998)."""
    return FourFiles(
        "mnist",
        "MNIST",
        (
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    )


@target
def fashion_mnist() -> FourFiles:
    """Articles of clothing (Xiao et al. 2017)."""
    return FourFiles(
        "fashion_mnist",
        "FashionMNIST",
        (
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    )
