"""What must be in a run's saved state beside the tensors that torch itself looks at."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator
from torch import Tensor

from cl_runner.run_folder.outcome import Environment
from cl_runner.run_folder.schemas import Count, Error, Seconds, Share, Strict, saying


class _Position(Strict):
    task: Count
    epoch: Count
    step: Count


class _Watch(Strict):
    largest: dict[str, Error]
    moved: bool
    steps: Count


class _Means(Strict):
    sums: dict[str, float]
    counts: dict[str, Annotated[int, Field(ge=1)]]

    @model_validator(mode="after")
    def _of_the_same(self) -> _Means:
        if self.sums.keys() != self.counts.keys():
            raise ValueError("sums and counts must be of the same numbers")
        return self


class _Spent(Strict):
    seconds: Seconds
    steps: Count
    samples_forward: Count
    samples_backward: Count
    peak_memory_bytes: Count


class _OfClasses(Strict):
    among_seen: list[list[Share | None]]
    among_own: list[list[Share | None]]
    validation: list[list[Share | None]]
    untrained: list[Share]
    before: list[Share | None]
    curve: list[tuple[Count, list[Share]]]
    predictions: dict[str, Tensor]


class _OfRegression(Strict):
    mse: list[list[Error | None]]
    validation: list[list[Error | None]]
    curve: list[tuple[Count, list[Error]]]
    fits: list[Tensor]


class _Environment(Environment):
    versions: Annotated[dict[str, str], saying("torch")]


class PlainState(Strict):
    """What of a run's state is no tensor, and is not put back by torch, which would look at it."""

    position: _Position
    alarms: list[str]
    watch: _Watch
    means: _Means
    logged: _Means
    cost: _Spent
    environment: _Environment
    generators: dict[str, Tensor]
    evaluator: _OfClasses | _OfRegression

    @model_validator(mode="after")
    def _in_step(self) -> PlainState:
        kind = self.evaluator
        rows = kind.mse if isinstance(kind, _OfRegression) else kind.among_seen
        if len(rows) != self.position.task:
            raise ValueError("the number of evaluated tasks must be that of learned tasks")
        return self
