"""Pictures in folders, one for each class: your own data set."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from cl_runner.config.setting_types import Channels, DataRoot, Seed, Share, Size
from cl_runner.config.targets import target
from cl_runner.data.picture_files import ENDINGS, open_picture
from cl_runner.data.pictures import OnError, decoded
from cl_runner.data.source import OF_THE_USER, Split
from cl_runner.errors import DataError
from cl_runner.randomness import generator
from cl_runner.text import counted, one_line

log = logging.getLogger("cl_runner")


@target
class ImageFolder:
    """One folder for each class, in `train/` and `test/` or in one tree of all samples.

    Classes are numbered in the order of their folders' names. A picture is each file at any depth
    of a class's folder whose name ends in one of ENDINGS (`picture_files.py`), in small or large
    letters. It is stretched to `size` × `size` pixels, bilinear as PIL does it, and made grey
    (`channels` 1) or RGB (3). Decoding is done once (`pictures.py`).

    `test_fraction` null: the splits are in `train/` and `test/`. Else the root is one tree, and
    this share of each class, rounded but at least one picture, is the test split: drawn by
    `split_seed` from the names of the files, so the same on every machine and for every seed of the
    run. `on_error`: `stop` names the pictures that cannot be read; `skip` leaves them out.
    """

    def __init__(
        self,
        *,
        root: DataRoot,
        size: Size,
        channels: Channels,
        test_fraction: Share | None,
        split_seed: Seed,
        on_error: OnError,
    ) -> None:
        self.root = Path(root).absolute()
        self.name = one_line(self.root.name) or "pictures"
        self.shape = (channels, size, size)
        self.test_fraction, self.split_seed = test_fraction, split_seed
        self.on_error: OnError = on_error
        self.folders = _classes(self.root, test_fraction is None)
        self.class_names = [one_line(folder) for folder in self.folders]
        self.classes = len(self.folders)

    def load(self, root: str) -> tuple[Split, Split]:
        """Ignores `root`: it has its own."""
        if self.test_fraction is None:
            train, test = self._files("train"), self._files("test")
        else:
            train, test = self._divided(self._files("."), self.test_fraction)
        return self._decoded(train), self._decoded(test)

    def _files(self, below: str) -> list[list[str]]:
        """The pictures of each class, by their paths below the root."""
        others: list[str] = []
        found = [_pictures(self.root, Path(below, folder), others) for folder in self.folders]
        if others:
            files = counted(len(others), "file")
            log.warning("ignored below %s: %s, such as %s", self.root / below, files, min(others))
        return found

    def _divided(
        self, files: Sequence[Sequence[str]], fraction: float
    ) -> tuple[list[list[str]], list[list[str]]]:
        train, test = [], []
        for folder, own in zip(self.folders, files, strict=True):
            if len(own) < 2:
                where = self.root / folder
                raise DataError(f"data error: {where} has one picture; a split needs two")
            draw = generator("test split", self.split_seed, folder)
            order = torch.randperm(len(own), generator=draw).tolist()
            count = min(max(round(fraction * len(own)), 1), len(own) - 1)
            test.append([own[n] for n in sorted(order[:count])])
            train.append([own[n] for n in sorted(order[count:])])
        return train, test

    def _decoded(self, files: Sequence[Sequence[str]]) -> Split:
        paths = [str(self.root / path) for own in files for path in own]
        labels = torch.arange(self.classes).repeat_interleave(torch.tensor(list(map(len, files))))
        opened = partial(open_picture, channels=self.shape[0])
        images, kept = decoded(paths, self.shape, "pictures", opened, self.on_error)
        return Split(images, labels[kept])


def _classes(root: Path, in_two: bool) -> list[str]:
    """The folders of the classes, sorted. in_two: in train/ and test/. Raises DataError."""
    names = _folders(root)
    both = {"train", "test"} <= set(names)
    if in_two and not both:
        hint = "; one tree of classes needs dataset.source.test_fraction=0.2" if names else ""
        raise DataError(f"data error: {root} has no folders train and test{hint}")
    if not in_two:
        if both:
            hint = "use dataset.source.test_fraction=null"
            raise DataError(f"data error: {root} has a test split of its own, test/; {hint}")
        return _at_least_two(root, names)
    train, test = (_folders(root / kind) for kind in ("train", "test"))
    for kind, other, lacking in (("test", "train", set(test) - set(train)),
                                 ("train", "test", set(train) - set(test))):  # fmt: skip
        if lacking:
            where = f"{root / kind}, but not in {other}/"
            raise DataError(f"data error: class {min(lacking)} is in {where}")
    return _at_least_two(root / "train", train)


def _folders(root: Path) -> list[str]:
    """The names of the folders here, sorted, without hidden ones. Raises DataError."""
    try:
        with os.scandir(root) as entries:
            found = [(entry.name, entry.is_dir()) for entry in entries if entry.name[0] != "."]
    except OSError as error:
        raise DataError(f"data error: {root}: {error.strerror}. {OF_THE_USER}") from None
    loose = [name for name, is_folder in found if not is_folder and _is_picture(name)]
    if loose:
        what = f"{counted(len(loose), 'picture')} outside the folders of classes"
        raise DataError(f"data error: {root} has {what}: {min(loose)}")
    return sorted(name for name, is_folder in found if is_folder)


def _at_least_two(root: Path, names: list[str]) -> list[str]:
    if len(names) < 2:
        has = f"one class, {names[0]}" if names else "no folders of classes"
        raise DataError(f"data error: {root} has {has}; at least two are needed")
    return names


def _pictures(root: Path, folder: Path, others: list[str]) -> list[str]:
    """The pictures at any depth, by their paths below the root, sorted; `others` takes in all other
    files. Raises DataError if there is none."""
    found: list[str] = []
    for where, folders, files in os.walk(root / folder):
        folders[:] = [name for name in folders if name[0] != "."]
        here = Path(where).relative_to(root)
        for name in files:
            if name[0] != ".":
                (found if _is_picture(name) else others).append(str(here / name))
    if not found:
        raise DataError(f"data error: {root / folder} has no picture")
    return sorted(found)


def _is_picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in ENDINGS
