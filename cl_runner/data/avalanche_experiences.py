"""What Avalanche is asked for: a benchmark by its name, and the samples of its experiences."""

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cl_runner import extras
from cl_runner.errors import ConfigError, DataError, first_line
from cl_runner.randomness import seeded

Argument = bool | int | float | str | list[int] | None
WITHOUT = {"train_transform": None, "eval_transform": None}
"""Pictures come as they are stored: `Pixels` prepares them."""


@dataclass(frozen=True)
class Experience:
    """What a task has there."""

    dataset: Any  # of (sample, class, task label)
    classes: list[int]
    label: int  # of the task


@cache
def _classic() -> Any:
    """The module of its benchmarks; None if it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from avalanche.benchmarks import classic
    except ImportError:
        return None
    return classic


def factory_of(name: str) -> Callable[..., Any]:
    """Raises ConfigError unless it is a benchmark of the module: nothing else is called."""
    if _classic() is None:
        allowed = "needs Avalanche, which is not installed"
        raise ConfigError.of("benchmark", name, allowed, extras.install("avalanche"))
    inside = "avalanche.benchmarks.classic"
    known = {
        key: value
        for key, value in vars(_classic()).items()
        if inspect.isfunction(value) and value.__module__.startswith(inside) and key[0].isupper()
    }
    if name not in known:
        allowed = f"is no benchmark of {inside}"
        raise ConfigError.of("benchmark", name, allowed, f"known are {', '.join(sorted(known))}")
    return known[name]


def checked(
    factory: Callable[..., Any], arguments: dict[str, Argument] | None
) -> dict[str, Argument]:
    """The arguments. Raises ConfigError for those that the benchmark lacks, or that are ours."""
    known = [name for name in inspect.signature(factory).parameters if not _is_ours(name)]
    if arguments is None:
        return {"n_experiences": 5} if "n_experiences" in known else {}
    for name, value in arguments.items():
        if name not in known:
            allowed = f"is no argument of {factory.__name__}"
            hint = f"known are {', '.join(known)}"
            raise ConfigError.of(f"arguments.{name}", value, allowed, hint)
    return arguments


def _is_ours(name: str) -> bool:
    return name in WITHOUT or "root" in name


@cache
def built(
    name: str, arguments: str, root: str, seed: int
) -> tuple[list[Experience], list[Experience]]:
    """The experiences of both streams. arguments: as JSON. Raises DataError for what Avalanche
    says."""
    factory = factory_of(name)
    parameters = inspect.signature(factory).parameters
    ours = WITHOUT | {key: root for key in parameters if "root" in key} | {"seed": seed}
    given = {k: v for k, v in ours.items() if k in parameters} | json.loads(arguments)
    try:
        with seeded(seed, "avalanche"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = factory(**given)
            train, test = ([*map(_experience, s)] for s in (made.train_stream, made.test_stream))
    except Exception as error:  # each benchmark raises its own
        raise DataError(f"data error: Avalanche's {name}: {first_line(error)}") from None
    if len(train) != len(test):
        counts = f"{len(train)} experiences for training and {len(test)} for testing"
        raise DataError(f"data error: Avalanche's {name} has {counts}; a task needs one of each")
    return train, test


def _experience(made: Any) -> Experience:
    classes = sorted(map(int, made.classes_in_this_experience))
    return Experience(made.dataset, classes, int(made.task_label))


def shape_of(name: str, experience: Experience) -> tuple[tuple[int, int, int], bool]:
    """Of a sample, [C, H, W], and whether it is a row of features."""
    sample = _stored(name, [experience.dataset[0][0]])
    channels, height, width = sample.shape[1:]
    return (channels, height, width), sample.dtype == torch.float32


def read(name: str, experience: Experience) -> tuple[Tensor, Tensor]:
    """[N, C, H, W] and the classes, [N]."""
    parts, labels = [], []
    for some in _parts(experience.dataset):
        parts.append(_stored(name, [sample for sample, *_ in some]))
        labels += [int(label) for _, label, *_ in some]
    return torch.cat(parts), torch.tensor(labels)


def _parts(dataset: Any, size: int = 1000) -> Iterator[list[Any]]:
    for start in range(0, len(dataset), size):
        yield [dataset[n] for n in range(start, min(start + size, len(dataset)))]


def _stored(name: str, samples: Sequence[Any]) -> Tensor:
    """[N, C, H, W] uint8 of pictures, [N, 1, 1, D] float32 of features."""
    try:
        tensors = [torch.as_tensor(_array(sample)) for sample in samples]
        whole = torch.stack(tensors)
    except Exception as error:
        what = f"data error: Avalanche's {name} has samples that make no array"
        raise DataError(f"{what}: {first_line(error)}") from None
    if whole.dtype == torch.uint8 and whole.dim() == 4:
        return whole
    if whole.dim() == 2:
        return whole.float()[:, None, None]
    bytes_ = (whole * 255).round()
    exact = whole.dim() == 4 and torch.equal(bytes_ / 255, whole)
    if not exact or bytes_.min() < 0 or bytes_.max() > 255:
        what = f"{str(whole.dtype).removeprefix('torch.')} {list(whole.shape[1:])}"
        raise DataError(f"data error: Avalanche's {name} has samples that are no pictures: {what}")
    return bytes_.to(torch.uint8)


def _array(sample: Any) -> Any:
    """A picture of PIL as [C, H, W]."""
    if isinstance(sample, Tensor):
        return sample
    picture = np.array(sample)
    return picture[None] if picture.ndim == 2 else picture.transpose(2, 0, 1)
