"""The labelled pictures that torchvision knows: CIFAR-10 and -100, SVHN, KMNIST, EMNIST, …"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from cl_runner.config.setting_types import Channels, Size
from cl_runner.config.targets import target
from cl_runner.data.picture_files import as_tensor, open_picture
from cl_runner.data.source import Split
from cl_runner.errors import ConfigError, DataError, first_line

Options = dict[str, str | int | bool]
Classes = Annotated[int, Field(ge=2, le=100_000)]
OURS = {"root", "download", "transform", "target_transform", "transforms", "loader"}
"""Arguments that are not a matter of options."""


@target
class TorchVision:
    """A class of torchvision.datasets, such as CIFAR10, read as it lies in the folder of the data
    sets. A run downloads nothing; `cl-data prepare` does.

    `train` and `test` are the options of the class that choose the split: {train: true}, or {split:
    train}. Pictures of another size are stretched to `size` × `size`, bilinear as PIL does it;
    `channels` 1 makes them grey, 3 RGB. What torchvision reads from a file for each picture is
    decoded at each run: `image_folder` does that once.
    """

    def __init__(
        self,
        *,
        dataset: str,
        classes: Classes,
        size: Size,
        channels: Channels,
        train: Options,
        test: Options,
    ) -> None:
        self.of = _class(dataset)
        self.name, self.classes, self.shape = dataset, classes, (channels, size, size)
        self.options = {"train": train, "test": test}
        for key, options in self.options.items():
            _refuse_unknown(self.of, key, options)

    def load(self, root: str) -> tuple[Split, Split]:
        return self._split(root, "train"), self._split(root, "test")

    def _split(self, root: str, kind: str) -> Split:
        found = opened(self.of, root, self.options[kind])
        whole = _as_stored(found, self.shape)
        return Split(*(self._one_by_one(found, kind) if whole is None else whole))

    def _one_by_one(self, samples: Any, kind: str) -> tuple[Tensor, Tensor]:
        mode = "L" if self.shape[0] == 1 else "RGB"
        images = torch.empty(len(samples), *self.shape, dtype=torch.uint8)
        labels = torch.empty(len(samples), dtype=torch.int64)
        for number in range(len(samples)):
            try:
                picture, label = samples[number]
                images[number] = as_tensor(picture.convert(mode), self.shape[1:])
                labels[number] = int(label)
            except Exception as error:  # whatever its files and its type of sample bring
                what = f"picture {number} of {self.name}, {kind} split"
                reason = f"is not a picture with a class: {first_line(error)}"
                raise DataError(f"data error: {what}, {reason}") from None
        return images, labels


def _as_stored(samples: Any, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor] | None:
    """Pictures and labels if the class holds them all as arrays of this shape, else None."""
    data, labels = getattr(samples, "data", None), getattr(samples, "targets", None)
    labels = getattr(samples, "labels", None) if labels is None else labels
    if labels is None or not isinstance(data, np.ndarray | Tensor):
        return None
    images = torch.as_tensor(data)
    images = images.unsqueeze(1) if images.dim() == 3 else images
    if images.dim() == 4 and tuple(images.shape[1:]) != shape:
        images = images.permute(0, 3, 1, 2)
    if images.dtype != torch.uint8 or tuple(images.shape[1:]) != shape:
        return None
    numbers = torch.as_tensor(np.asarray(labels)).long()
    return (images.contiguous(), numbers) if numbers.dim() == 1 else None


def _class(name: str) -> Any:
    """Raises ConfigError unless torchvision.datasets has this class."""
    from torchvision import datasets

    found = getattr(datasets, name, None) if name in datasets.__all__ else None
    if not (inspect.isclass(found) and issubclass(found, datasets.VisionDataset)):
        allowed = "is not a class of pictures in torchvision.datasets, such as CIFAR10 or SVHN"
        raise ConfigError.of("dataset", name, allowed)
    return found


def _refuse_unknown(of: Any, key: str, options: Mapping[str, Any]) -> None:
    parameters = inspect.signature(of).parameters.values()
    names = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    others = any(p.kind is p.VAR_KEYWORD for p in parameters)
    known = [name for name in names if name not in OURS]
    for name in options:
        if name in OURS or (name not in known and not others):
            allowed = f"is no option of {of.__name__}"
            raise ConfigError.of(
                f"{key}.{name}", options[name], allowed, f"known are {', '.join(known)}"
            )


_BY_TRAIN: tuple[Options, Options] = ({"train": True}, {"train": False})
_BALANCED: tuple[Options, Options] = (
    {"split": "balanced", "train": True},
    {"split": "balanced", "train": False},
)
FETCHED: dict[str, tuple[str, tuple[Options, Options]]] = {
    "cifar10": ("CIFAR10", _BY_TRAIN),
    "cifar100": ("CIFAR100", _BY_TRAIN),
    "svhn": ("SVHN", ({"split": "train"}, {"split": "test"})),
    "kmnist": ("KMNIST", _BY_TRAIN),
    "emnist": ("EMNIST", _BALANCED),
    "omniglot": ("Omniglot", ({"background": True}, {"background": False})),
}
"""What `cl-data` fetches: the name there, the class, and its options for both splits."""


def opened(of: Any, root: str, options: Mapping[str, Any]) -> Any:
    """The data set as it lies in this folder; nothing is downloaded, and where the class lets us
    choose, picture files are opened as our own are. Raises DataError."""
    ours = {"download": False, "loader": partial(open_picture, channels=3)}
    parameters = inspect.signature(of).parameters
    try:
        return of(root, **options, **{key: ours[key] for key in ours if key in parameters})
    except Exception as error:  # each class raises its own
        name = of.__name__
        hint = f"; run: cl-data prepare {name.lower()} --root {root}"
        hint = hint if name.lower() in FETCHED else ""
        what = f"{name} cannot be read from {root}"
        reason = first_line(error).partition(". You can use download=True")[0]
        raise DataError(f"data error: {what}: {reason}{hint}") from None


def fetch(name: str, root: str) -> None:
    """Download a data set of FETCHED into this folder. Raises whatever torchvision does."""
    dataset, splits = FETCHED[name]
    for options in splits:
        _class(dataset)(root, **options, download=True)


def check(name: str, root: str) -> None:
    """Raise DataError unless torchvision finds all files of a data set of FETCHED."""
    dataset, splits = FETCHED[name]
    for options in splits:
        opened(_class(dataset), root, options)
