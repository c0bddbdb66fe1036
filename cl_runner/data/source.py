"""What a data set must provide, what it may, and the checks that it passes when it is read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from cl_runner.data.arrays import Rows
from cl_runner.errors import DataError

OF_THE_USER = "Hint: dataset.root=FOLDER is the folder of your data"
"""What to do where a file or folder of a user's own data is missing."""
ROWS = 10_000
"""How many are checked at a time."""


@dataclass(frozen=True)
class Split:
    """The training or the test part of a data set."""

    images: Rows  # [N, C, H, W] uint8; features [N, 1, 1, D] float32
    labels: Tensor  # [N] int64, 0 … classes − 1 as the data set numbers them
    groups: Tensor | None = None  # [N] int64: similar samples, to be kept on one side of a split
    tasks: Tensor | None = None  # [N] int64: for a cut that leaves them as they are (`ByColumn`)


class Source(Protocol):
    """A data set of labelled samples, loaded after all settings have been checked.

    It may also have `class_names`, a list of text, and `features`: true where samples are not
    pictures but D numbers, of shape (1, 1, D).
    """

    name: str
    classes: int
    shape: tuple[int, int, int]  # [C, H, W]

    def load(self, root: str) -> tuple[Split, Split]:
        """The training and the test split. Raises DataError if they are missing or damaged."""


def read(source: Source, root: str) -> tuple[Split, Split]:
    """Load a source and check its counts, types, labels and picture shape. Raises DataError."""
    splits = source.load(root)
    for kind, split in zip(("training", "test"), splits, strict=True):
        where = f"data error: {source.name}, {kind} split: "
        if len(split.images) != len(split.labels):
            raise DataError(f"{where}{len(split.images)} pictures but {len(split.labels)} labels")
        row = _not_finite(split.images)
        if row is not None:
            what = "row {} has a feature" if has_features(source) else "picture {} has a pixel"
            raise DataError(f"{where}{what.format(row)} that is not finite")
        expected = torch.float32 if has_features(source) else torch.uint8
        if split.images.dtype != expected or tuple(split.images.shape[1:]) != source.shape:
            raise DataError(
                f"{where}samples are {split.images.dtype} {list(split.images.shape[1:])}, "
                f"expected {expected} {list(source.shape)}"
            )
        if split.labels.dim() != 1:
            raise DataError(f"{where}labels are {list(split.labels.shape)}, expected one a sample")
        if split.labels.dtype != torch.int64:
            raise DataError(f"{where}labels are {split.labels.dtype}, expected torch.int64")
        wrong = torch.nonzero((split.labels < 0) | (split.labels >= source.classes)).flatten()
        if len(wrong) > 0:
            first = int(wrong[0])
            raise DataError(
                f"{where}label {int(split.labels[first])} of sample {first} is outside "
                f"0 … {source.classes - 1}"
            )
    return splits


def has_features(source: Source) -> bool:
    """Whether its samples are float32 features [1, 1, D], not uint8 pictures [C, H, W]."""
    return bool(getattr(source, "features", False))


def in_words(labels: Sequence[int], names: Sequence[str] | None) -> str:
    """`classes 3, 5`, or with the names that the data set gives them, `classes cat, dog`."""
    listed = ", ".join(names[label] if names else str(label) for label in labels)
    return f"{'class' if len(labels) == 1 else 'classes'} {listed}"


def _not_finite(rows: Rows) -> int | None:
    """The first row with such a value, read some at a time; None if there is none."""
    if not rows.dtype.is_floating_point:
        return None
    for some in torch.arange(len(rows)).split(ROWS):
        wrong = torch.nonzero(~torch.isfinite(rows.index_select(0, some).flatten(1)).all(1))
        if len(wrong) > 0:
            return int(some[wrong[0]])
    return None


def remedy(name: str, root: str) -> str:
    """The command that replaces a data set that is missing or damaged."""
    return f"run: cl-data prepare {name} --root {root}"


def verify(path: Path, sha256: str, advice: str) -> None:
    """Raise DataError, which names the file, unless it exists with exactly these bytes."""
    if not path.is_file():
        raise DataError(f"data error: {path} is missing; {advice}")
    if path.stat().st_size == 0:
        raise DataError(f"data error: {path} is empty; {advice}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sha256:
        raise DataError(
            f"data error: {path} is damaged "
            f"(SHA-256 {digest[:12]}…, expected {sha256[:12]}…); {advice}"
        )
