"""The features of a body that never learns, computed once for each sample and kept in a file.

U samples of a stream, each of which has D features.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from cl_runner import terminal
from cl_runner.config.factory import path_of
from cl_runner.config.own_code import digest_of_files, own_code
from cl_runner.config.paths import HERE
from cl_runner.config.traits import Config
from cl_runner.data.arrays import Rows, fits, mapped, on
from cl_runner.data.cache import kept, place
from cl_runner.data.likelihood import Categorical
from cl_runner.data.samples import Samples, Unchanged
from cl_runner.data.stream import Digests, Outline, Scope, Stream
from cl_runner.errors import StorageError
from cl_runner.models.network import Network, evaluation_mode
from cl_runner.training.first_task import digest_of_weights

PART = 500
"""Samples that pass through the body together, and are read from the file at a time."""
MOST = 10 * 2**30
"""Bytes of all such files together."""
FEW = 5000
"""With more, a line says that features are computed where no bar can be drawn."""
BAR = "{desc}: {n_fmt} of {total_fmt} samples |{bar}| {remaining}"
NOT_OF_THE_BODY = {"classifier", "freeze_statistics", "frozen", "init", "inserted_layer",
                   "new_rows", "weights"}  # fmt: skip
"""Settings of a model that change no feature, except through the weights of its body."""

log = logging.getLogger("cl_runner")


def fit(network: Network, outline: Outline, scope: Scope, one_layer: bool) -> None:
    """Fit the network to the stream. It skips its body if that never learns and no sample is
    augmented, so that features can stand for samples. Not in regression, which records its inputs.
    """
    network.fit_to(outline, scope, one_layer)
    of_classes = isinstance(outline.likelihood, Categorical)
    if network.body_rests and of_classes and not outline.augmented:
        network.skip_body()


def of_stream(stream: Stream, network: Network, device: str, config: Config) -> tuple[Stream, str]:
    """The stream with features in place of samples, as a network wants it that skips its body, and
    a line about them. The digests stay those of the samples.

    config: of the run. The file is in $XDG_CACHE_HOME/cl_runner; its name is a digest of the
    samples, of the body with its code and its settings, and of how it computes. So the runs of a
    sweep compute them once.
    """
    began = time.monotonic()
    digests = Digests(stream.sha256, stream.test_sha256)
    learned = [samples for task in stream.tasks for samples in (task.train, task.validation)]
    sides = [_Side(parts, network, device, config) for parts in (learned, stream.test)]
    made = [side.parts() for side in sides]
    trained, tested = made
    pairs = zip(trained[::2], trained[1::2], strict=True)
    tasks = [
        replace(task, train=train, validation=validation)
        for task, (train, validation) in zip(stream.tasks, pairs, strict=True)
    ]
    count = sum(len(side.whole) for side in sides)
    how = "computed" if any(side.was_computed for side in sides) else "read from the cache"
    said = f"features of {count:,} samples: {how} in {time.monotonic() - began:.1f} s"
    return replace(stream, tasks=tasks, test=tested, samples=digests), said


@dataclass
class _Side:
    """The training or the test samples of all tasks, which are stored together."""

    samples: Sequence[Samples]
    network: Network
    device: str
    config: Config
    was_computed: bool = False

    def __post_init__(self) -> None:
        ids = torch.cat([part.index for part in self.samples]).unique()
        self.whole = replace(self.samples[0], rows=ids, first=0)

    def parts(self) -> list[Samples]:
        """Features in place of these samples. A sample's id is its place among all of this side."""
        rows, labels, ids = on(self._features(), self.device), self.whole.y, self.whole.rows
        return [
            Samples(rows, labels, torch.searchsorted(ids, part.index), Unchanged())
            for part in self.samples
        ]

    def _features(self) -> Rows:
        """[U, 1, 1, D] float32, from the file if it is there and whole."""
        file = place("features", self._depends_on(), ".float32")
        shape = (len(self.whole), 1, 1, self.network.classifier.features)
        try:
            (found,) = kept(file, partial(_from_file, file, shape), self._to_file)
        except (OSError, StorageError):  # a run works without a cache
            return torch.cat([torch.empty(0, *shape[1:]), *self._computed()])
        with suppress(OSError):  # another run may do the same, or the folder be read-only
            _forget_the_oldest(file)
        return found

    def _depends_on(self) -> Iterator[str]:
        network = self.network
        digest = sha256()
        for chunk in self.whole.chunks(PART):
            digest.update(chunk.raw.cpu().contiguous().numpy().data)
        yield digest.hexdigest()
        yield digest_of_weights(network.body)
        yield f"{network.body}"
        model = self.config.get("model") or {}
        yield json.dumps({k: v for k, v in model.items() if k not in NOT_OF_THE_BODY})
        yield digest_of_files([*sorted(HERE.rglob("*.py")), *own_code(self.config)])
        for package in sorted({type(m).__module__.partition(".")[0] for m in network.modules()}):
            yield f"{package} {getattr(sys.modules[package], '__version__', '')}"
        pixels = self.whole.pixels
        yield path_of(type(pixels))
        for name, value in sorted(vars(pixels).items()):
            yield f"{name} {value.tolist() if isinstance(value, Tensor) else value}"
        yield f"{network.precision} {network.memory_format} {PART}"
        on_gpu = self.device.startswith("cuda")
        processor = torch.cuda.get_device_name(self.device) if on_gpu else "cpu"
        yield f"{processor}, {torch.get_num_threads()} threads"

    @torch.no_grad()
    def _computed(self) -> Iterator[Tensor]:
        """[≤ PART, 1, 1, D] float32 on the CPU, in the order of the ids."""
        self.was_computed = True
        with (
            evaluation_mode(self.network),
            terminal.bar(len(self.whole), 0, BAR, "features") as bar,
        ):
            if bar.disable and (count := len(self.whole)) > FEW:
                print(f"computing the features of {count:,} samples, once", file=sys.stderr)
            for chunk in self.whole.chunks(PART):
                yield self.network.features_of_body(chunk.x).cpu()
                bar.update(len(chunk))

    def _to_file(self, content: BinaryIO) -> None:
        digest = sha256()
        for features in self._computed():
            block = features.contiguous().numpy().data.cast("B")
            digest.update(block)
            content.write(block)
        content.write(digest.digest())


def _from_file(file: Path, shape: Sequence[int]) -> tuple[Rows] | None:
    """The features; None unless the file holds so many numbers and, behind them, their SHA-256."""
    size = 4 * int(np.prod(shape))
    try:
        if file.stat().st_size != size + sha256().digest_size:
            return None
        with file.open("rb") as content:
            digest = sha256()
            for length in _lengths(size):
                digest.update(content.read(length))
            if content.read() != digest.digest():
                return None
        if not fits(size):
            return (mapped(file, np.dtype(np.float32), shape, 0),)
        values = np.fromfile(file, np.float32, size // 4)
        return (torch.from_numpy(values).view(*shape),)
    except OSError:
        return None


def _forget_the_oldest(used: Path) -> None:
    """Remove the files that were not used for the longest time, while all take more than MOST."""
    os.utime(used)
    files = used.parent.glob("features-*.float32")
    ordered = sorted(files, key=lambda file: file.stat().st_mtime, reverse=True)
    ends = accumulate(file.stat().st_size for file in ordered)
    for file, end in list(zip(ordered, ends, strict=True))[2:]:  # those of this run stay
        if end > MOST:
            file.unlink(missing_ok=True)


def _lengths(size: int, block: int = 2**20) -> Iterable[int]:
    """Of the parts of so many bytes."""
    return [min(block, size - start) for start in range(0, size, block)]
