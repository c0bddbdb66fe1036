"""One function for each file of a run, a sweep or a suite: its typed values, or `Damaged`."""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError

from cl_runner.run_folder.events import Event
from cl_runner.run_folder.files import is_locked
from cl_runner.run_folder.outcome import Results
from cl_runner.run_folder.plain import Damaged, content, of_json, of_yaml, told_as_damaged
from cl_runner.run_folder.schemas import Judgement, Ledger, Status, settings

DONE, DAMAGED = "complete", "damaged"
Arrays = dict[str, np.ndarray[Any, Any]]
Decoder = Callable[[bytes], Any]
T = TypeVar("T")
NEVER_BEGUN = Status.model_construct(status="missing")
MB = 2**20
ARRAYS, MEMBERS = 256 * MB, 100_000
"""Bytes and number of the arrays in a `predictions.npz`, by what its headers say."""


def config(folder: Path) -> dict[str, Any] | None:
    """The settings that the run was started with, as they were written; None if there is no run."""
    file = folder / "config.yaml"
    node: dict[str, Any] | None = _decoded(file, MB, of_yaml)
    if node is not None:
        _typed(node, settings(), file)
    return node


def overrides(folder: Path) -> list[str] | None:
    """The settings that were typed; None if there is no run."""
    return _optional(folder / "overrides.yaml", MB, of_yaml, _OVERRIDES)


def status(folder: Path) -> Status:
    """How far the run has come, and who works on it; `NEVER_BEGUN` where there is none."""
    return _optional(folder / "status.json", 4 * MB, of_json, _STATUS) or NEVER_BEGUN


def results(folder: Path) -> Results:
    """What a complete run has measured, with all metrics, also those that are newer than it."""
    file = folder / "results.json"
    complete = _optional(file, 64 * MB, of_json, _RESULTS)
    if complete is None:
        raise Damaged(file, "it does not exist")
    return complete


def ledger(folder: Path) -> Ledger:
    """The jobs of the sweep or search; none if this is the folder of neither."""
    listed = _optional(folder / "sweep.json", 64 * MB, of_json, _LEDGER)
    return listed or Ledger.model_construct(sweep=folder.name, id=None, jobs=[])


def verdict(folder: Path) -> Judgement | None:
    """What `cl-reproduce` found; None if this is the folder of no suite."""
    return _optional(folder / "verdict.json", 16 * MB, of_json, _JUDGEMENT)


def metrics(
    folder: Path, size: int | None = None, sha256: str | None = None, containing: bytes = b""
) -> list[Event]:
    """The events in the first `size` bytes (None: all) of `metrics.jsonl`, whose digest, if one is
    given, is `sha256`; of them the lines with these bytes. A torn last line, which a kill leaves,
    is dropped."""
    file = folder / "metrics.jsonl"
    if size == 0:
        return []
    try:
        data = content(file, 1024 * MB)[:size]
    except FileNotFoundError:
        raise Damaged(file, "it does not exist") from None
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        reason = f"its first {size} bytes are not those that the checkpoint was saved with"
        hint = "restore the file from a backup, or start again with another name="
        raise Damaged(file, f"{reason}. Hint: {hint}")
    *lines, _torn = data.split(b"\n")
    events = []
    for number, line in enumerate(lines, start=1):
        if containing in line:
            with told_as_damaged(file):
                try:
                    events.append(_EVENT.validate_python(of_json(line)))
                except (ValueError, RecursionError) as error:
                    raise Damaged(file, f"line {number}: {_reason(error)}") from None
    return events


def events_of(lines: Any) -> list[Event]:
    """The events in decoded lines of a `metrics.jsonl`. Raises ValueError for anything else."""
    return _EVENTS.validate_python(lines)


def predictions(folder: Path) -> Arrays:
    """The arrays of `predictions.npz`, none of which is read before all their sizes are known."""
    file = folder / "predictions.npz"
    try:
        data = io.BytesIO(content(file, ARRAYS))
    except FileNotFoundError:
        raise Damaged(file, "it does not exist") from None
    with told_as_damaged(file), zipfile.ZipFile(data) as archive:
        names = archive.namelist()
        if len(names) > MEMBERS or sum(_bytes_of(archive, name) for name in names) > ARRAYS:
            raise ValueError(f"it would fill more than {ARRAYS // MB} MB")
        arrays = {}
        for name in names:
            with archive.open(name) as member:
                array = np.lib.format.read_array(member, allow_pickle=False)
                arrays[name.removesuffix(".npy")] = array
        return arrays


def fits(folder: Path, tasks: int) -> Arrays:
    """The predictions of a run in regression: data, and fits [evaluations, N] at inputs [N]."""
    arrays = predictions(folder)
    with told_as_damaged(folder / "predictions.npz"):
        samples = ("inputs", "targets", "tasks")
        names = (*samples, *(f"training_{name}" for name in samples), "fits_in_task")
        flat = {name: arrays[name] for name in names}
        test, train = len(flat["inputs"]), len(flat["training_inputs"])
        sizes = (test, test, test, train, train, train, len(flat["fits_in_task"]))
        shapes = [(size,) for size in sizes]
        if [array.shape for array in flat.values()] != shapes:
            raise ValueError("its arrays differ in length")
        if arrays["fits"].shape != (sizes[-1], test):
            raise ValueError("it has no fit at each input")
        for name in ("tasks", "training_tasks", "fits_in_task"):
            if sorted(set(flat[name].tolist())) != list(range(tasks)):
                raise ValueError(f"{name} are not those of the run")
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise ValueError("it holds numbers that are not finite")
    return arrays


def _bytes_of(archive: zipfile.ZipFile, name: str) -> int:
    """What an array takes in memory, as its header says."""
    with archive.open(name) as member:
        version = np.lib.format.read_magic(member)
        headers = np.lib.format
        read = {(1, 0): headers.read_array_header_1_0, (2, 0): headers.read_array_header_2_0}
        shape, _, dtype = read[version](member)
    if dtype.kind not in "biuf" or any(size < 0 for size in shape):
        raise ValueError("it holds values that are not numbers")
    return int(math.prod(shape) * dtype.itemsize)


def _optional(file: Path, limit: int, decode: Decoder, form: TypeAdapter[T]) -> T | None:
    """The typed value of a file; None if it does not exist."""
    node = _decoded(file, limit, decode)
    return None if node is None else _typed(node, form, file)


def _decoded(file: Path, limit: int, decode: Decoder) -> Any:
    """The plain values of a file; None if it does not exist."""
    try:
        data = content(file, limit)
    except FileNotFoundError:
        return None
    with told_as_damaged(file):
        if (node := decode(data)) is None:
            raise ValueError("it is empty")
        return node


def _typed(node: Any, form: TypeAdapter[T], file: Path) -> T:
    with told_as_damaged(file):
        try:
            return form.validate_python(node)
        except ValidationError as error:
            raise Damaged(file, _reason(error)) from None


def _reason(error: Exception) -> str:
    """Of pydantic's complaints the first: where, and what."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if not isinstance(error, ValidationError):
        return str(error).splitlines()[0][:200]
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    complaint = first["msg"].removeprefix("Value error, ")
    return f"{place}: {complaint}" if place else complaint


_OVERRIDES = TypeAdapter(list[str])
_STATUS = TypeAdapter(Status)
_RESULTS = TypeAdapter(Results)
_LEDGER = TypeAdapter(Ledger)
_JUDGEMENT = TypeAdapter(Judgement)
_EVENTS: TypeAdapter[list[Event]] = TypeAdapter(list[Event])
_EVENT: TypeAdapter[Event] = TypeAdapter(Event)


def state_of(folder: Path) -> str:
    """`missing` if the run was never begun, `killed` if nobody works on it any more, `damaged` if
    its `status.json` is, else as it says there."""
    try:
        state = str(status(folder).status)
    except Damaged:
        return DAMAGED
    return "killed" if state == "running" and not is_locked(folder) else state
