"""The types that settings are declared with, which say what is allowed, and their traits."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Annotated, Literal, TypeAlias, TypeVar

from pydantic import Field

from cl_runner.errors import ConfigError


@dataclass(frozen=True)
class Traits:
    """What a setting is, beyond the values that it allows. Part of its annotation,
    `Annotated[bool, Traits(changes_results=False)]`; also holds for the settings below it."""

    changes_results: bool = True
    """If False, a run can be continued with another value."""
    acts_in_first_task: bool = True
    """If False, runs with different values share their first task."""
    adds_weights: bool = False
    """Weights that join later, for which an optimizer that is kept has room from the start."""
    per_task: bool = False
    """A list has one value per task; the last one repeats."""
    takes_time: bool = False
    """Runs with equal values take about equally long."""
    compared: bool = True
    """Runs with different values are compared; if False, averaged, and it cannot be searched."""
    is_place: bool = False
    """Names a file or folder outside the run's own."""
    of_one_call: bool = False
    """Belongs to one command, and has to be typed again to continue the run."""
    not_in_search: str = ""
    """Why `cl-search` refuses it."""

    def __or__(self, other: Traits) -> Traits:
        """The traits that either of them states."""
        values = {f: getattr(self, f.name) for f in fields(self)}
        return replace(other, **{f.name: v for f, v in values.items() if v != f.default})


NO_RESULT = Traits(changes_results=False)
LATER = Traits(acts_in_first_task=False)
PLACE = Traits(is_place=True)

# In single precision 1e18 and its square are finite, as is what is divided by 1e-30.
Real = Annotated[float, Field(ge=-1e18, le=1e18)]
NonNegative = Annotated[float, Field(ge=0, le=1e18)]
Positive = Annotated[float, Field(ge=1e-30, le=1e18)]
UnitInterval = Annotated[float, Field(ge=0, le=1)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
NonNegativeInt = Annotated[int, Field(ge=0, lt=2**31, description="≥ 0 and < 2³¹")]
PositiveInt = Annotated[int, Field(ge=1, lt=2**31, description="≥ 1 and < 2³¹")]
TaskCount = Annotated[int, Field(ge=1, le=10_000)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Threads = Annotated[int, Field(ge=1, le=1024)]
Device = Annotated[
    str,
    Field(
        pattern=r"^(auto|cpu|mps|cuda(:\d{1,3})?)$",
        description="auto, cpu, cuda, cuda:1 or mps",
    ),
]
RunName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,79}$",
        description="of 1 to 80 letters, digits, '.', '_' and '-', not starting with '.'",
    ),
]
Folder = Annotated[str, Field(min_length=1, description="that names a folder"), PLACE]
DataRoot = Annotated[str, NO_RESULT | PLACE]
"""The folder of the data sets."""
Share = Annotated[float, Field(gt=0, lt=1)]
Size = Annotated[int, Field(ge=1, le=4096)]
"""Pixels of a picture in each direction."""
Channels = Literal[1, 3]
"""Of a picture: grey, or red, green and blue."""
BufferSize = Annotated[
    int, Field(ge=1, lt=2**31, description="≥ 1; to store nothing, use strategy=finetune")
]

T = TypeVar("T")
NonEmpty: TypeAlias = Annotated[list[T], Field(min_length=1)]
PerTask: TypeAlias = T | Annotated[NonEmpty[T], Traits(per_task=True)]
"""One value, or a list with one value per task, of which the last repeats. A task sees only its own
value."""


def at_task(value: PerTask[T], task: int) -> T:
    """The value that a setting has at this task."""
    return value[min(task, len(value) - 1)] if isinstance(value, list) else value


def at_most_one_a_task(key: str, value: PerTask[T], tasks: int) -> None:
    """Raise ConfigError if a list has more values than there are tasks."""
    if isinstance(value, list) and len(value) > tasks:
        allowed = f"has {len(value)} values for {tasks} tasks; give at most one per task"
        raise ConfigError.of(key, value, allowed)
