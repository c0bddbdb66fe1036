"""One function for each file of a run, sweep or suite: its typed values, or `Damaged`."""

from __future__ import annotations

import hashlib
import io
import logging
import math
import zipfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import TypeAdapter

from cl_runner.forgetting import Course, course, key_of, labels_of
from cl_runner.plugins import loading
from cl_runner.records import BySample, Samples
from cl_runner.run_folder.events import Event
from cl_runner.run_folder.files import is_locked
from cl_runner.run_folder.outcome import Kept, Results, by_sample, samples_in
from cl_runner.run_folder.plain import Damaged, Missing, content, decoding, of_json, of_yaml
from cl_runner.run_folder.schemas import Judgement, Ledger, Status, settings

log = logging.getLogger("cl_runner")
DONE, DAMAGED, MISSING = "complete", "damaged", "missing"
PREDICTIONS, PROBE, LOGITS = "predictions.npz", "probe.npz", "logits.npz"
"""The classes predicted for test samples, and with `diagnose=probe` for validation samples; with
`keep=logits` the scores of test samples."""
Arrays = dict[str, np.ndarray[Any, Any]]
Decoder = Callable[[bytes], Any]
T = TypeVar("T")
NEVER_BEGUN = Status.model_construct(status=MISSING)
MB = 2**20
ARRAYS, MEMBERS = 256 * MB, 100_000
"""The largest size in memory and number of the arrays in a `predictions.npz`."""


def config(folder: Path) -> dict[str, Any] | None:
    """The settings that the run was started with; None if there is no run."""
    return _optional(folder / "config.yaml", MB, of_yaml, _settings)


def overrides(folder: Path) -> list[str] | None:
    """The settings that were typed; None if there is no run."""
    return _optional(folder / "overrides.yaml", MB, of_yaml, _OVERRIDES.validate_python)


def status(folder: Path) -> Status:
    """How far the run has come, and who works on it; `NEVER_BEGUN` if there is no run."""
    file = folder / "status.json"
    return _optional(file, 4 * MB, of_json, Status.model_validate) or NEVER_BEGUN


def state_of(folder: Path) -> str:
    """The state in `status.json`; `missing` if the run was never begun, `killed` if it says
    running but nobody works on it, `damaged` if the file is."""
    try:
        state: str = status(folder).status
    except Damaged:
        return DAMAGED
    return "killed" if state == "running" and not is_locked(folder) else state


def results(folder: Path) -> Results:
    """What a complete run has measured, with all metrics, even those added after it ended."""
    loading.load()
    kept = Kept(partial(_samples, folder), partial(_logits, folder), _warn_once)
    validate = partial(Results.model_validate, context=kept)
    return _required(folder / "results.json", 64 * MB, of_json, validate)


@cache
def _warn_once(text: str) -> None:
    """Not for each of a hundred folders."""
    log.warning(text)


def ledger(folder: Path) -> Ledger:
    """The jobs of the sweep or search; no jobs if the folder belongs to neither."""
    listed = _optional(folder / "sweep.json", 64 * MB, of_json, Ledger.model_validate)
    return listed or Ledger.model_construct(sweep=folder.name, id=None, jobs=[])


def verdict(folder: Path) -> Judgement | None:
    """The result of `cl-reproduce`; None if the folder belongs to no suite."""
    return _optional(folder / "verdict.json", 16 * MB, of_json, Judgement.model_validate)


def metrics(
    folder: Path, size: int | None = None, sha256: str | None = None, containing: bytes = b""
) -> list[Event]:
    """The events in the first `size` bytes (None: all) of `metrics.jsonl`, in lines that contain
    `containing`. A torn last line, which a kill may leave, is dropped.

    sha256: the digest that these bytes must have, if given.
    """
    file = folder / "metrics.jsonl"
    if size == 0:
        return []
    data = content(file, 1024 * MB)[:size]
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        reason = f"its first {size} bytes have changed since the checkpoint was saved"
        hint = "restore the file from a backup, or start again with another name="
        raise Damaged(file, f"{reason}. Hint: {hint}")
    *lines, _torn = data.split(b"\n")
    events = []
    for number, line in enumerate(lines, start=1):
        if containing in line:
            with decoding(file, f"line {number}: "):
                events.append(_EVENT.validate_python(of_json(line)))
    return events


def events_of(lines: Any) -> list[Event]:
    """The events in decoded lines of `metrics.jsonl`. Raises ValueError for anything else."""
    return _EVENTS.validate_python(lines)


def predictions(folder: Path, name: str = PREDICTIONS) -> Arrays:
    """The arrays of `predictions.npz`, or of another such file. All sizes are checked before any
    array is read."""
    file = folder / name
    data = io.BytesIO(content(file, ARRAYS))
    with decoding(file), zipfile.ZipFile(data) as archive:
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
    """The predictions of a regression run: data, and fits [evaluations, N] at inputs [N]."""
    arrays = predictions(folder)
    with decoding(folder / PREDICTIONS):
        evaluations, test = arrays["fits"].shape
        shapes: dict[str, tuple[int, ...]] = {"fits_in_task": (evaluations,)}
        for name in ("inputs", "targets", "tasks"):
            shapes[name] = (test,)
            shapes[f"training_{name}"] = arrays["training_inputs"].shape[:1]
        if any(arrays[name].shape != shape for name, shape in shapes.items()):
            raise ValueError("its arrays differ in length")
        for name in ("tasks", "training_tasks", "fits_in_task"):
            if sorted(set(arrays[name].tolist())) != list(range(tasks)):
                raise ValueError(f"{name} do not match the tasks of the run")
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise ValueError("it holds numbers that are not finite")
    return arrays


def classes_of(folder: Path, measured: Results, name: str = PREDICTIONS) -> Arrays:
    """The labels and predicted classes of a run of classes, from one of its files of predictions,
    under the names in `forgetting.py`: each a class [N] of the run for each sample of a task.
    Raises Missing if there is no such file."""
    arrays = predictions(folder, name)
    with decoding(folder / name):
        own = measured.class_ranges
        for key, classes in arrays.items():
            task = int(key.removesuffix("_task_il").removesuffix("_probe").rpartition("_")[2])
            shape = arrays[labels_of(task - 1)].shape
            if classes.dtype.kind not in "iu" or classes.ndim != 1 or classes.shape != shape:
                raise ValueError(f"{key} does not have a class for each sample of the task")
            known = own[task - 1] if key == labels_of(task - 1) else range(own[-1].stop)
            if len(classes) == 0 or classes.min() < known.start or classes.max() >= known.stop:
                raise ValueError(f"{key} has a class that the task does not have")
    return arrays


def course_of(folder: Path, measured: Results, name: str = PREDICTIONS) -> Course:
    """What became of each task of a run of classes, from one of its files of predictions. Raises
    Missing if there is no such file."""
    arrays = classes_of(folder, measured, name)
    with decoding(folder / name):
        return course(arrays, measured.class_ranges, measured.shares_classes, measured.names_task)


def _samples(folder: Path, measured: Results) -> Samples | None:
    """The classes of each test sample; None in regression."""
    if measured.measure.has_fits or not (folder / PREDICTIONS).exists():
        return None
    return samples_in(classes_of(folder, measured), measured)


def _logits(folder: Path, measured: Results) -> BySample | None:
    """The scores of each test sample; None if the run did not keep them."""
    if not (folder / LOGITS).exists():
        return None
    arrays, own = predictions(folder, LOGITS), measured.class_ranges
    with decoding(folder / LOGITS):
        found = by_sample(arrays, measured)
        for t, row in enumerate(found):
            for k, scores in enumerate(row):
                if scores.dtype != np.float32 or scores.shape != (
                    measured.tasks[k].test,
                    own[t].stop,
                ):
                    raise ValueError(f"{key_of(t, k)} does not have a score for each class seen")
        return found


def _bytes_of(archive: zipfile.ZipFile, name: str) -> int:
    """The size of an array in memory, according to its header."""
    npy = np.lib.format
    headers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    with archive.open(name) as member:
        shape, _, dtype = headers[npy.read_magic(member)](member)
    if dtype.kind not in "biuf" or any(size < 0 for size in shape):
        raise ValueError("it holds values that are not numbers")
    return int(math.prod(shape) * dtype.itemsize)


def _required(file: Path, limit: int, decode: Decoder, validate: Callable[[Any], T]) -> T:
    """The typed value of a file."""
    data = content(file, limit)
    with decoding(file):
        if (node := decode(data)) is None:
            raise ValueError("it is empty")
        return validate(node)


def _optional(file: Path, limit: int, decode: Decoder, validate: Callable[[Any], T]) -> T | None:
    """The typed value of a file; None if there is no such file."""
    try:
        return _required(file, limit, decode, validate)
    except Missing:
        return None


def _settings(node: Any) -> dict[str, Any]:
    """The same node, if it has the form of a run's settings."""
    settings().model_validate(node)
    return dict(node)


_OVERRIDES = TypeAdapter(list[str])
_EVENTS: TypeAdapter[list[Event]] = TypeAdapter(list[Event])
_EVENT: TypeAdapter[Event] = TypeAdapter(Event)
