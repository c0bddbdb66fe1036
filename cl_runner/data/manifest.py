"""Pictures that a CSV file lists, with their classes, splits and tasks."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import count
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import torch

from cl_runner.config.setting_types import Channels, DataRoot, Size
from cl_runner.config.targets import target
from cl_runner.data.inside import inside
from cl_runner.data.picture_files import open_picture
from cl_runner.data.pictures import OnError, decoded
from cl_runner.data.source import OF_THE_USER, Split
from cl_runner.errors import DataError, first_line
from cl_runner.text import one_line

NEEDED = ("path", "label", "split")
SPLITS = ("train", "test")


class Line(NamedTuple):
    """A sample; `task` and `group` are empty where the file has no such column."""

    path: str
    label: str
    split: str
    task: str
    group: str


@target
class Manifest:
    """A CSV file with the columns path, label, split (train or test) and, if you like, task and
    group; others are ignored.

    `file` is below the root, and paths are relative to the root; none leads out of it. Classes and
    tasks are numbered in the order of their names: as numbers where all are whole numbers, else as
    text. Samples of a group stay on one side of the validation split; one whose group is empty is
    alone. `size`, `channels` and
    `on_error` are those of ImageFolder.
    """

    def __init__(
        self, *, root: DataRoot, file: str, size: Size, channels: Channels, on_error: OnError
    ) -> None:
        self.root, self.on_error = Path(root).absolute(), on_error
        self.file, self.shape = inside(self.root, file), (channels, size, size)
        self.name = one_line(self.file.stem)
        self.lines = _read(self.file)
        self.class_names = _in_order(line.label for line in self.lines)
        self.task_names = _in_order(line.task for line in self.lines if line.task)
        self.classes = len(self.class_names)
        self.task_classes = self._of_tasks()
        if self.classes < 2:
            raise DataError(f"data error: {self.file} has one class, {self.class_names[0]}")
        for kind, other in (SPLITS, SPLITS[::-1]):
            here, there = ({s.label for s in self.lines if s.split == k} for k in (kind, other))
            if here - there:
                what = f"class {min(here - there)} in the split {kind}, but not in {other}"
                raise DataError(f"data error: {self.file} has {what}")

    def load(self, root: str) -> tuple[Split, Split]:
        """Ignores `root`: it has its own."""
        _refuse_outside(self.root, self.lines, self.file)
        train, test = ([line for line in self.lines if line.split == kind] for kind in SPLITS)
        return self._split(train), self._split(test)

    def _of_tasks(self) -> list[list[int]]:
        pairs = {(line.task, line.label) for line in self.lines if line.split == "train"}
        numbered = list(enumerate(self.class_names))
        return [
            [number for number, name in numbered if (task, name) in pairs]
            for task in self.task_names
        ]

    def _split(self, lines: Sequence[Line]) -> Split:
        paths = [str(self.root / line.path) for line in lines]
        opened = partial(open_picture, channels=self.shape[0])
        images, kept = decoded(paths, self.shape, "pictures", opened, self.on_error)
        labels = _numbers([line.label for line in lines], self.class_names)[kept]
        tasks = [line.task for line in lines]
        return Split(
            images,
            labels,
            _groups(lines)[kept],
            _numbers(tasks, self.task_names)[kept] if self.task_names else None,
        )


def _read(file: Path) -> list[Line]:
    """Raises DataError for the first line that is not right."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as content:
            reader = csv.DictReader(content, strict=True)
            columns = reader.fieldnames or []
            missing = [name for name in NEEDED if name not in columns]
            if missing:
                raise DataError(f"data error: {file} has no column {', '.join(missing)}")
            lines = [
                _line(row, f"{file}, line {reader.line_num}", "task" in columns) for row in reader
            ]
    except OSError as error:
        reason = f"{error.strerror}. {OF_THE_USER}"
        raise DataError(f"data error: {file} cannot be read: {reason}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"data error: {file} cannot be read: {first_line(error)}") from None
    for kind in SPLITS:
        if not any(line.split == kind for line in lines):
            raise DataError(f"data error: {file} lists no sample of the split {kind}")
    return lines


def _line(row: dict[str, str | None], where: str, has_tasks: bool) -> Line:
    line = Line(*(one_line((row.get(name) or "").strip()) for name in Line._fields))
    path = PurePosixPath(line.path)
    if not line.path or not line.label or (has_tasks and not line.task):
        empty = next(n for n in (*NEEDED, "task") if not getattr(line, n))
        raise DataError(f"data error: {where}: {empty} is empty")
    if line.split not in SPLITS:
        raise DataError(f"data error: {where}: split is {line.split:.40}, must be train or test")
    if path.is_absolute() or ".." in path.parts or "\0" in line.path:
        raise DataError(f"data error: {where}: {line.path:.200} must be a path below the root")
    return line


def _refuse_outside(root: Path, lines: Iterable[Line], file: Path) -> None:
    """Raise DataError for a path that leads out of the root by links."""
    inside, known = os.path.realpath(root), set()
    for line in lines:
        path = root / line.path
        if path.parent not in known or path.is_symlink():
            known.add(path.parent)
            real = os.path.realpath(path)
            if os.path.commonpath([inside, real]) != inside:
                raise DataError(f"data error: {file}: {line.path:.200} leads out of {root}")


def _groups(lines: Sequence[Line]) -> torch.Tensor:
    """[N] int64: the named groups in the order of their names, then each sample without one."""
    names = _in_order(line.group for line in lines if line.group)
    place, alone = {name: number for number, name in enumerate(names)}, count(len(names))
    return torch.tensor([place[line.group] if line.group else next(alone) for line in lines])


def _in_order(names: Iterable[str]) -> list[str]:
    """The different ones: by their numbers if all are numbers, else as text."""
    different = set(names)
    numeric = all(name.isascii() and name.isdigit() and len(name) < 19 for name in different)
    return sorted(different, key=lambda name: (int(name), name) if numeric else (0, name))


def _numbers(values: Sequence[str], names: Sequence[str]) -> torch.Tensor:
    place = {name: number for number, name in enumerate(names)}
    return torch.tensor([place[value] for value in values], dtype=torch.int64)
