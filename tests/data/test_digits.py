"""The digits of scikit-learn: its own table, read once in a process."""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from cl_runner.data.digits import Digits


def images_of(split: object) -> Tensor:
    images = split.images  # type: ignore[attr-defined]
    assert isinstance(images, Tensor)
    return images


def test_they_are_those_of_scikit_learn() -> None:
    """All of them, each in one of the two splits, on our scale of 0 to 255."""
    theirs = load_digits()
    train, test = Digits().load("")
    assert len(test.labels) == len(theirs.target) // 5
    images = torch.cat([images_of(train), images_of(test)])
    labels = torch.cat([train.labels, test.labels])
    ours = Counter((x.numpy().tobytes(), int(y)) for x, y in zip(images, labels, strict=True))
    scaled = np.round(theirs.images * 255 / 16).astype(np.uint8)
    assert ours == Counter((x.tobytes(), y) for x, y in zip(scaled, theirs.target, strict=True))


def test_whoever_changes_a_split_changes_no_other() -> None:
    first = images_of(Digits().load("")[0])
    kept = first.clone()
    first.zero_()
    assert torch.equal(images_of(Digits().load("")[0]), kept)
