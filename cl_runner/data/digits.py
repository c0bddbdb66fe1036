"""scikit-learn's handwritten digits: 1,797 grey 8 × 8 pictures, part of that package."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cl_runner.config.targets import target
from cl_runner.data.source import Split
from cl_runner.errors import DataError
from cl_runner.randomness import generator


@target
class Digits:
    """UCI's optical recognition of handwritten digits (Alpaydin & Kaynak 1998), test part.

    The table is read without importing scikit-learn, which takes longer than a small run. The test
    split is one fifth, the same for every seed.
    """

    name = "digits"
    classes = 10
    shape = (1, 8, 8)

    def load(self, root: str) -> tuple[Split, Split]:
        """Ignores `root`: the data is part of an installed package."""
        images, labels = _table()
        order = torch.randperm(len(labels), generator=generator("digits"))
        test, train = order[: len(order) // 5], order[len(order) // 5 :]
        return Split(images[train], labels[train]), Split(images[test], labels[test])


@cache
def _table() -> tuple[Tensor, Tensor]:
    """All pictures [N, 1, 8, 8] and their labels [N]. Reading the text takes longer than some runs,
    so a process does it once."""
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise DataError("data error: digits needs scikit-learn; run: pip install scikit-learn")
    file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    table = np.loadtxt(file, delimiter=",")
    images = torch.from_numpy(table[:, :64] * 255 / 16).round().to(torch.uint8)
    return images.view(-1, *Digits.shape), torch.from_numpy(table[:, 64]).long()
