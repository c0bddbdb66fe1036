"""Arrays in files as a data set: uint8 pictures, or float32 features."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from cl_runner.config.setting_types import DataRoot
from cl_runner.config.targets import target
from cl_runner.data import array_file
from cl_runner.data.array_file import Array
from cl_runner.data.arrays import OutOfCore, Rows, fits
from cl_runner.data.source import Split
from cl_runner.errors import ConfigError, DataError
from cl_runner.text import one_line

Layout = Literal["auto", "NHWC", "NCHW"]


@target
class ArrayFiles:
    """Arrays in files below the root: `FILE.npy`, `FILE.pt`, or `FILE.npz:KEY` and `FILE.pt:KEY`.
    A path that leads out of the root, also by a link, is refused.

    Inputs are uint8 pictures [N, H, W], [N, H, W, C] or [N, C, H, W], or float32 features [N, D].
    `test_inputs` are of the same shape and type. `train_labels` and `test_labels` are integers
    [N], 0 … classes − 1. Features are seen by the network as [1, 1, D] and are
    not divided by 255. `layout`: where the colours of pictures with four axes are; `auto` takes the
    one axis that has 1 or 3 entries. `train_groups` [N]: similar samples, which the validation
    split keeps together. `class_names` replace numbers where classes are shown.
    """

    def __init__(
        self,
        *,
        root: DataRoot,
        train_inputs: str,
        train_labels: str,
        test_inputs: str,
        test_labels: str,
        train_groups: str | None,
        class_names: list[str] | None,
        layout: Layout,
    ) -> None:
        self.root = Path(root).absolute()
        self.name = one_line(Path(train_inputs.partition(":")[0]).stem)
        self.layout = layout
        self.inputs = [array_file.opened(self.root, name) for name in (train_inputs, test_inputs)]
        self.labels = [_labels(self.root, name) for name in (train_labels, test_labels)]
        self.groups = None if train_groups is None else _integers(self.root, train_groups)
        self.features = self.inputs[0].dtype == np.float32
        shapes = [_shape(array, layout) for array in self.inputs]
        if shapes[0] != shapes[1] or self.inputs[0].dtype != self.inputs[1].dtype:
            both = " but ".join(f"{a.where} is {a.dtype} {list(a.shape)}" for a in self.inputs)
            raise DataError(f"data error: {both}")
        self.shape = shapes[0]
        self.classes = _count(self.labels[0], train_labels)
        if class_names is not None:
            if len(class_names) != self.classes:
                allowed = f"has {len(class_names)} names for {self.classes} classes"
                raise ConfigError.of("class_names", class_names, allowed)
            self.class_names = [one_line(name) for name in class_names]

    def load(self, root: str) -> tuple[Split, Split]:
        """Ignores `root`: it has its own."""
        train, test = (_rows(array, self.shape, self.layout) for array in self.inputs)
        for array, labels in zip(self.inputs, self.labels, strict=True):
            if array.shape[0] != len(labels):
                raise DataError(
                    f"data error: {array.where} has {array.shape[0]} rows, but there are "
                    f"{len(labels)} labels"
                )
        if self.groups is not None and len(self.groups) != len(train):
            counts = f"{len(self.groups)} values for {len(train)} training samples"
            raise DataError(f"data error: train_groups has {counts}")
        return Split(train, self.labels[0], self.groups), Split(test, self.labels[1])


def _shape(array: Array, layout: Layout) -> tuple[int, int, int]:
    """[C, H, W] of one sample. Raises DataError."""
    axes, is_picture = len(array.shape), array.dtype == np.uint8
    has = f"data error: {array.where} is {array.dtype} {list(array.shape)}"
    if not (is_picture and axes in (3, 4)) and not (array.dtype == np.float32 and axes == 2):
        wanted = "uint8 [N, H, W], [N, H, W, C] or [N, C, H, W], or float32 [N, D]"
        raise DataError(f"{has}, must be {wanted}")
    if 0 in array.shape:
        raise DataError(f"{has}, which is empty")
    if not is_picture:
        return 1, 1, array.shape[1]
    if axes == 3:
        return 1, array.shape[1], array.shape[2]
    first, last = array.shape[1], array.shape[3]
    if layout == "auto":
        if (first in (1, 3)) == (last in (1, 3)):
            hint = "say which it is: dataset.source.layout=NHWC or NCHW"
            raise DataError(f"{has}, where the colours can be either axis; {hint}")
        layout = "NCHW" if first in (1, 3) else "NHWC"
    if layout == "NCHW":
        return first, array.shape[2], last
    return last, first, array.shape[2]


def _rows(array: Array, shape: tuple[int, int, int], layout: Layout) -> Rows:
    """[N, C, H, W]"""
    values = array.values()
    whole = values if isinstance(values, Tensor) else values.parts[0]
    if whole.dim() == 4 and (layout == "NHWC" or tuple(whole.shape[1:]) != shape):
        whole = whole.permute(0, 3, 1, 2)
    while whole.dim() < 4:
        whole = whole.unsqueeze(1)
    if isinstance(values, OutOfCore):
        return OutOfCore([whole], files=values.files)
    return whole.contiguous() if fits(whole.nbytes) else OutOfCore([whole])


def _integers(root: Path, name: str) -> Tensor:
    """[N] int64. Raises DataError."""
    array = array_file.opened(root, name)
    if len(array.shape) != 1 or not np.issubdtype(array.dtype, np.integer):
        has = f"{array.where} is {array.dtype} {list(array.shape)}"
        raise DataError(f"data error: {has}, must be integers [N]")
    return array.values().to("cpu").to(torch.int64)


def _labels(root: Path, name: str) -> Tensor:
    labels = _integers(root, name)
    if len(labels) == 0 or int(labels.min()) < 0:
        what = f"has label {int(labels.min())}" if len(labels) else "has no label"
        raise DataError(f"data error: {root / name} {what}, must be 0 … classes − 1")
    return labels


def _count(labels: Tensor, name: str) -> int:
    """The number of classes. Raises DataError for a gap, or if there is only one."""
    present = labels.unique()
    if len(present) < 2:
        raise DataError(f"data error: {name} has one class; at least two are needed")
    if int(present[-1]) != len(present) - 1:
        gap = int((present != torch.arange(len(present))).nonzero()[0])
        highest = f"has label {int(present[-1])}, but no label {gap}"
        raise DataError(f"data error: {name} {highest}; labels must be 0 … classes − 1, all in use")
    return len(present)
