"""Arrays in .npy, .npz and .pt files, opened without running what they hold.

Shape and type are read from the header. The rows are in memory if they fit, else mapped.
"""

from __future__ import annotations

import pickle
import shutil
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from cl_runner.data.arrays import OutOfCore, Rows, fits, mapped
from cl_runner.data.cache import kept, place
from cl_runner.data.inside import inside
from cl_runner.data.source import OF_THE_USER
from cl_runner.errors import DataError, StorageError, first_line

ENDINGS = (".npy", ".npz", ".pt")
DAMAGED = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError,
           pickle.UnpicklingError, NotImplementedError)  # fmt: skip
"""What the libraries raise for files that are not whole, or hold Python objects."""


@dataclass(frozen=True)
class Array:
    """An array in a file, whose values are read when they are asked for."""

    where: str  # for messages
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    values: Callable[[], Rows]  # raises DataError
    """The whole array: in memory if it fits, else mapped."""


def opened(root: Path, written: str) -> Array:
    """The array at `FILE`, or `FILE:KEY` of a file with several; none is outside the root. Raises
    DataError."""
    name, _, key = written.partition(":")
    path = inside(root, name)
    if path.suffix.lower() not in ENDINGS:
        raise DataError(f"data error: {path} is none of {', '.join(ENDINGS)}")
    if not path.is_file():
        raise DataError(f"data error: {path} is missing. {OF_THE_USER}")
    try:
        if path.suffix.lower() == ".npz":
            return _in_archive(path, key)
        if path.suffix.lower() == ".pt":
            return _of_torch(path, key)
        if key:
            raise DataError(f"data error: {path} is one array and has no key {key}")
        found = np.load(path, mmap_mode="c", allow_pickle=False)
        return Array(str(path), found.shape, found.dtype, _guarded(path, lambda: _of_npy(path)))
    except DAMAGED as error:
        raise _cannot_be_read(path, error) from None


def _of_npy(path: Path) -> Rows:
    found = np.load(path, mmap_mode="c", allow_pickle=False)
    if fits(found.nbytes):
        return torch.from_numpy(np.load(path, allow_pickle=False))
    if not found.flags.c_contiguous:
        return OutOfCore([torch.from_numpy(found)])
    return mapped(path, found.dtype, found.shape, path.stat().st_size - found.nbytes)


def _in_archive(path: Path, key: str) -> Array:
    with zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if name.endswith(".npy")]
        names = [name.removesuffix(".npy") for name in members]
        _refuse_unknown(path, key, names)
        with archive.open(f"{key}.npy") as member:
            shape, dtype = _header(path, member)

    def values() -> Rows:
        if fits(int(np.prod(shape)) * dtype.itemsize):
            with np.load(path, allow_pickle=False) as arrays:
                return torch.from_numpy(arrays[key])
        return _of_npy(_extracted(path, key))

    return Array(f"{path}:{key}", shape, dtype, _guarded(path, values))


def _header(path: Path, member: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(member)
    readers = {(1, 0): np.lib.format.read_array_header_1_0,
               (2, 0): np.lib.format.read_array_header_2_0}  # fmt: skip
    if version not in readers:
        raise DataError(f"data error: {path} is written in version {version} of the npy format")
    shape, _, dtype = readers[version](member)
    if dtype.hasobject:
        raise DataError(f"data error: {path} holds Python objects, not numbers")
    return shape, dtype


def _extracted(path: Path, key: str) -> Path:
    """The member of an archive as a file that can be mapped, in the cache. Raises DataError."""
    status = path.stat()
    file = place("array", [f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0{key}"], ".npy")

    def unpack(content: BinaryIO) -> None:
        with zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as member:
            shutil.copyfileobj(member, content, 2**20)

    try:
        return kept(file, lambda: file if file.exists() else None, unpack)
    except (OSError, StorageError) as error:
        what = "does not fit in memory and cannot be unpacked"
        raise DataError(f"data error: {path}:{key} {what}: {first_line(error)}") from None


def _of_torch(path: Path, key: str) -> Array:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about files that are refused below
        whole = torch.load(path, "cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    if isinstance(whole, dict):
        _refuse_unknown(path, key, [name for name in whole if isinstance(name, str)])
        whole = whole[key]
    elif key:
        raise DataError(f"data error: {path} is no dictionary and has no key {key}")
    where = f"{path}:{key}" if key else str(path)
    if not isinstance(whole, Tensor) or whole.layout != torch.strided:
        raise DataError(f"data error: {where} is a {type(whole).__name__}, must be a dense tensor")
    tensor = whole.detach()
    try:
        dtype = tensor[:0].numpy().dtype
    except (TypeError, IndexError):
        raise DataError(f"data error: {where} is {tensor.dtype}, of {tensor.dim()} axes") from None

    def values() -> Rows:
        return tensor.clone() if fits(tensor.nbytes) else OutOfCore([tensor])

    return Array(where, tuple(tensor.shape), dtype, values)


def _refuse_unknown(path: Path, key: str, names: list[str]) -> None:
    if key not in names:
        has = f"it has {', '.join(sorted(names)[:10]) or 'none'}"
        hint = f"{has}; write {path.name}:KEY"
        raise DataError(f"data error: {path} has no array {key or 'without a key'}; {hint}")


def _guarded(path: Path, values: Callable[[], Rows]) -> Callable[[], Rows]:
    def call() -> Rows:
        try:
            return values()
        except DAMAGED as error:
            raise _cannot_be_read(path, error) from None

    return call


def _cannot_be_read(path: Path, error: Exception) -> DataError:
    if isinstance(error, pickle.UnpicklingError) or "pickle" in str(error):
        return DataError(f"data error: {path} holds Python objects, not only numbers")
    return DataError(f"data error: {path} cannot be read: {first_line(error)}")
