"""What a data set must provide, and the checks that it passes when it is read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from cl_runner.data.arrays import Rows
from cl_runner.errors import DataError


@dataclass(frozen=True)
class Split:
    """The training or the test part of a data set."""

    images: Rows  # [N, C, H, W] uint8
    labels: Tensor  # [N] int64, 0 … classes − 1 as the data set numbers them
    groups: Tensor | None = None  # [N] int64: similar samples, to be kept on one side of a split


class Source(Protocol):
    """A data set of labelled pictures, loaded after all settings have been checked."""

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
        if isinstance(split.images, Tensor) and split.images.is_floating_point():
            wrong = torch.nonzero(~torch.isfinite(split.images.flatten(1)).all(1)).flatten()
            if len(wrong) > 0:
                raise DataError(f"{where}picture {int(wrong[0])} has a pixel that is not finite")
        if split.images.dtype != torch.uint8 or tuple(split.images.shape[1:]) != source.shape:
            raise DataError(
                f"{where}pictures are {split.images.dtype} {list(split.images.shape[1:])}, "
                f"expected torch.uint8 {list(source.shape)}"
            )
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
