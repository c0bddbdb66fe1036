"""Tiny ImageNet: 100,000 + 10,000 colour pictures of 200 classes, 64 × 64, as Stanford packs it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from cl_runner.config.setting_types import Channels, Size
from cl_runner.config.targets import target
from cl_runner.data.picture_files import open_picture
from cl_runner.data.pictures import decoded
from cl_runner.data.source import Split
from cl_runner.errors import DataError, first_line

FOLDER = "tiny-imagenet-200"


@target
class TinyImageNet:
    """The folder tiny-imagenet-200 (Le & Yang 2015): train/ by class; the pictures of val/, whose
    classes are in val_annotations.txt, are the test split. Classes are numbered in the order of
    their WordNet names. `size` and `channels` are those of ImageFolder."""

    name = "tiny_imagenet"
    classes = 200

    def __init__(self, *, size: Size, channels: Channels) -> None:
        self.shape = (channels, size, size)

    def load(self, root: str) -> tuple[Split, Split]:
        folder = Path(root) / FOLDER
        try:
            names = sorted((folder / "wnids.txt").read_text("ascii").split())
            train = [
                (str(file), names.index(name))
                for name in names
                for file in sorted((folder / "train" / name / "images").iterdir())
            ]
            lines = (folder / "val" / "val_annotations.txt").read_text("ascii").splitlines()
            test = [
                (str(folder / "val" / "images" / Path(words[0]).name), names.index(words[1]))
                for words in (line.split() for line in lines)
            ]
        except OSError as error:
            what = f"{error.filename}: {error.strerror}"
            hint = f"{FOLDER}.zip has to be unpacked in {root}"
            raise DataError(f"data error: {what}; {hint}") from None
        except (ValueError, IndexError) as error:
            raise DataError(f"data error: {folder} is damaged: {first_line(error)}") from None
        return self._split(train), self._split(test)

    def _split(self, samples: list[tuple[str, int]]) -> Split:
        opened = partial(open_picture, channels=self.shape[0])
        images, _ = decoded([path for path, _ in samples], self.shape, self.name, opened)
        return Split(images, torch.tensor([label for _, label in samples]))
