"""The types that settings are declared with: each says its range, and pydantic checks it."""

from __future__ import annotations

from typing import Annotated, TypeAlias, TypeVar

from pydantic import Field

from cl_runner.errors import ConfigError

# 1e18 and its square are numbers in single precision, as are 1e-30 and what it divides.
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
        description="of 1 to 80 letters, digits, '.', '_' and '-', not beginning with '.'",
    ),
]
Folder = Annotated[str, Field(min_length=1, description="that names a folder")]
BufferSize = Annotated[
    int, Field(ge=1, lt=2**31, description="≥ 1; what stores nothing is strategy=finetune")
]

T = TypeVar("T")
ONE_A_TASK = "one value a task"
PerTask: TypeAlias = T | Annotated[list[T], Field(min_length=1), ONE_A_TASK]
"""One value, or a list with one value a task, of which the last repeats."""


def at_task(value: PerTask[T], task: int) -> T:
    """What a setting that may differ between tasks is at this task."""
    return value[min(task, len(value) - 1)] if isinstance(value, list) else value


def at_most_one_a_task(key: str, value: PerTask[T], tasks: int) -> None:
    """Raise ConfigError if a list has values for tasks that there are not."""
    if isinstance(value, list) and len(value) > tasks:
        allowed = f"has {len(value)} values for {tasks} tasks; give at most one a task"
        raise ConfigError.of(key, value, allowed)
