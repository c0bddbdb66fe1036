"""One function for each file of a run, a sweep or a suite: its values, or `Damaged`."""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from cl_runner.run_folder import schemas
from cl_runner.run_folder.files import is_locked
from cl_runner.run_folder.plain import Damaged, content, of_json, of_yaml, told_as_damaged

DONE, DAMAGED = "complete", "damaged"
Arrays = dict[str, np.ndarray[Any, Any]]
Record = dict[str, Any]
Decoder = Callable[[bytes], Any]
MB = 2**20
ARRAYS, MEMBERS = 256 * MB, 100_000
"""Bytes and number of the arrays in a `predictions.npz`, by what its headers say."""


def config(folder: Path) -> Record | None:
    """The settings that the run was started with; None if there is no run."""
    found: Record | None = _optional(folder / "config.yaml", MB, of_yaml, _SETTINGS)
    return found


def overrides(folder: Path) -> list[str] | None:
    """The settings that were typed; None if there is no run."""
    found: list[str] | None = _optional(folder / "overrides.yaml", MB, of_yaml, _OVERRIDES)
    return found


def status(folder: Path) -> dict[str, Any]:
    """How far the run has come, and who works on it; empty if it was never begun."""
    found: Record | None = _optional(folder / "status.json", 4 * MB, of_json, _STATUS)
    return found or {}


def results(folder: Path) -> dict[str, Any]:
    """What a complete run has measured."""
    file = folder / "results.json"
    found: Record | None = _optional(file, 64 * MB, of_json, _RESULTS)
    if found is None:
        raise Damaged(file, "it is not there")
    return found


def ledger(folder: Path) -> Record | None:
    """The jobs of the sweep or search; None if this is the folder of none."""
    found: Record | None = _optional(folder / "sweep.json", 64 * MB, of_json, _LEDGER)
    return found


def verdict(folder: Path) -> Record | None:
    """What `cl-reproduce` found; None if this is the folder of no suite."""
    found: Record | None = _optional(folder / "verdict.json", 16 * MB, of_json, _JUDGEMENT)
    return found


def metrics(
    folder: Path, size: int | None = None, sha256: str | None = None, containing: bytes = b""
) -> list[Record]:
    """The events in the first `size` bytes (None: all) of `metrics.jsonl`, whose digest, if one is
    given, is `sha256`; of them the lines with these bytes. A torn last line, which a kill leaves,
    is dropped."""
    file = folder / "metrics.jsonl"
    if size == 0:
        return []
    try:
        data = content(file, 1024 * MB)[:size]
    except FileNotFoundError:
        raise Damaged(file, "it is not there") from None
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        reason = f"its first {size} bytes are not those that the checkpoint was saved with"
        hint = "restore the file from a copy, or start anew under another name="
        raise Damaged(file, f"{reason}. Hint: {hint}")
    *lines, _torn = data.split(b"\n")
    events = []
    for number, line in enumerate(lines, start=1):
        if containing in line:
            with told_as_damaged(file):
                try:
                    events.append(_typed(of_json(line), _EVENT))
                except (ValueError, RecursionError) as error:
                    raise Damaged(file, f"line {number}: {_reason(error)}") from None
    return events


def are_events(records: Any) -> None:
    """Raise ValueError unless these are lines of a `metrics.jsonl`."""
    _typed(records, _EVENTS)


def predictions(folder: Path) -> Arrays:
    """The arrays of `predictions.npz`, none of which is read before all their sizes are known."""
    file = folder / "predictions.npz"
    try:
        data = io.BytesIO(content(file, ARRAYS))
    except FileNotFoundError:
        raise Damaged(file, "it is not there") from None
    with told_as_damaged(file), zipfile.ZipFile(data) as archive:
        names = archive.namelist()
        if len(names) > MEMBERS or sum(_bytes_of(archive, name) for name in names) > ARRAYS:
            raise ValueError(f"it would fill more than {ARRAYS // MB} MB")
        found = {}
        for name in names:
            with archive.open(name) as member:
                array = np.lib.format.read_array(member, allow_pickle=False)
                found[name.removesuffix(".npy")] = array
        return found


def fits(folder: Path, tasks: int) -> Arrays:
    """The predictions of a run in regression: data, and fits [evaluations, N] at inputs [N]."""
    found = predictions(folder)
    with told_as_damaged(folder / "predictions.npz"):
        samples = ("inputs", "targets", "tasks")
        names = (*samples, *(f"training_{name}" for name in samples), "fits_in_task")
        flat = {name: found[name] for name in names}
        test, train = len(flat["inputs"]), len(flat["training_inputs"])
        sizes = (test, test, test, train, train, train, len(flat["fits_in_task"]))
        shapes = [(size,) for size in sizes]
        if [array.shape for array in flat.values()] != shapes:
            raise ValueError("its arrays differ in length")
        if found["fits"].shape != (sizes[-1], test):
            raise ValueError("it has no fit at each input")
        for name in ("tasks", "training_tasks", "fits_in_task"):
            if sorted(set(flat[name].tolist())) != list(range(tasks)):
                raise ValueError(f"{name} are not those of the run")
        if not all(np.isfinite(array).all() for array in found.values()):
            raise ValueError("it holds more than finite numbers")
    return found


def _bytes_of(archive: zipfile.ZipFile, name: str) -> int:
    """What an array takes in memory, as its header says."""
    with archive.open(name) as member:
        version = np.lib.format.read_magic(member)
        headers = np.lib.format
        read = {(1, 0): headers.read_array_header_1_0, (2, 0): headers.read_array_header_2_0}
        shape, _, dtype = read[version](member)
    if dtype.kind not in "biuf" or any(size < 0 for size in shape):
        raise ValueError("it holds more than numbers")
    return int(math.prod(shape) * dtype.itemsize)


def _optional(file: Path, limit: int, decoded: Decoder, form: TypeAdapter[Any]) -> Any:
    """The checked value of a file; None if it is not there."""
    try:
        data = content(file, limit)
    except FileNotFoundError:
        return None
    with told_as_damaged(file):
        try:
            return _typed(decoded(data), form)
        except ValidationError as error:
            raise Damaged(file, _reason(error)) from None


def _typed(value: Any, form: TypeAdapter[Any]) -> Any:
    """The value itself, if it has this form."""
    form.validate_python(value)
    return value


def _reason(error: Exception) -> str:
    """Of pydantic's complaints the first: where, and what."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if not isinstance(error, ValidationError):
        return str(error).splitlines()[0][:200]
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    said = first["msg"].removeprefix("Value error, ")
    return f"{place}: {said}" if place else said


_SETTINGS: TypeAdapter[Any] = TypeAdapter(schemas.Settings)
_OVERRIDES: TypeAdapter[Any] = TypeAdapter(list[str])
_STATUS: TypeAdapter[Any] = TypeAdapter(schemas.Status)
_RESULTS: TypeAdapter[Any] = TypeAdapter(schemas.Results)
_LEDGER: TypeAdapter[Any] = TypeAdapter(schemas.Ledger)
_JUDGEMENT: TypeAdapter[Any] = TypeAdapter(schemas.Judgement)
_EVENTS: TypeAdapter[Any] = TypeAdapter(list[schemas.Event])
_EVENT: TypeAdapter[Any] = TypeAdapter(schemas.Event)


def state_of(folder: Path) -> str:
    """`missing` if the run was never begun, `killed` if nobody works on it any more, `damaged` if
    its `status.json` is, else as it says there."""
    try:
        state = str(status(folder).get("status", "missing"))
    except Damaged:
        return DAMAGED
    return "killed" if state == "running" and not is_locked(folder) else state
