"""What a run's saved state must contain, apart from what torch checks when it loads it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator
from torch import Tensor

from cl_runner.run_folder.outcome_parts import Environment, Spent
from cl_runner.run_folder.schemas import (
    Count,
    Error,
    ErrorMatrix,
    Share,
    ShareMatrix,
    Strict,
    with_text,
)


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


class _Classification(Strict):
    among_seen: ShareMatrix
    among_own: ShareMatrix
    validation: ShareMatrix
    untrained: list[Share]
    before: list[Share | None]
    curve: list[tuple[Count, list[Share]]]
    predictions: dict[str, Tensor]
    logits: dict[str, Tensor] = Field(default_factory=dict)


class _Regression(Strict):
    mse: ErrorMatrix
    validation: ErrorMatrix
    curve: list[tuple[Count, list[Error]]]
    fits: list[Tensor]


class _Probe(Strict):
    predictions: dict[str, Tensor]


class _EarlyStopping(Strict):
    best: float | None
    since: Count
    weights: dict[str, Tensor]


class _Environment(Environment):
    versions: Annotated[dict[str, str], with_text("torch")]


class PlainState(Strict):
    """The parts of a run's state that no `load_state_dict` of torch would check."""

    position: _Position
    alarms: list[str]
    watch: _Watch
    means: _Means
    logged: _Means
    cost: Spent
    environment: _Environment
    generators: dict[str, Tensor]
    evaluator: _Classification | _Regression
    probe: _Probe
    early_stopping: _EarlyStopping

    @model_validator(mode="after")
    def _in_step(self) -> PlainState:
        measured = self.evaluator
        rows = measured.mse if isinstance(measured, _Regression) else measured.among_seen
        if len(rows) != self.position.task:
            raise ValueError("the numbers of evaluated and of learned tasks differ")
        return self
