"""The lines of `metrics.jsonl`, one per event."""

from __future__ import annotations

from statistics import fmean
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from cl_runner.measures import FEW, MEASURES, Measure
from cl_runner.run_folder.schemas import Count, Error, Share, Strict

Shares = Annotated[list[Share], Field(min_length=1)]
Errors = Annotated[list[Error], Field(min_length=1)]


class _Line(Strict):
    def line(self) -> dict[str, Any]:
        """The keys and values of the line."""
        return self.model_dump(exclude_none=True)


class Step(_Line):
    """The mean of the loss and of each of its terms since the previous such line. lr, head_lr: the
    learning rates of its last step, if they change within a task; head_lr only if it differs."""

    event: Literal["step"] = "step"
    task: Count
    epoch: Count
    step: Count
    loss: float
    terms: dict[str, float]
    lr: float | None = None
    head_lr: float | None = None


class Evaluation(_Line):
    """The measure on each task so far, after a task or within one."""

    event: Literal["evaluation", "within_task"]
    task: Count
    step: Count
    accuracy: Shares | None = None
    accuracy_validation: Shares | None = None
    mse: Errors | None = None
    mse_validation: Errors | None = None

    @property
    def measure(self) -> Measure:
        return MEASURES["accuracy" if self.mse is None else "mse"]

    @property
    def row(self) -> list[float]:
        """The value on each task so far."""
        row: list[float] = getattr(self, self.measure.logged)
        return row

    @property
    def text(self) -> str:
        """For people, such as `accuracy 91.2 88.0`."""
        return " ".join([self.measure.logged, *map(self.measure.unit.text, self.row)])

    @property
    def brief(self) -> str:
        """The same on one line of a terminal: of more tasks than fit, the mean, the first and the
        last."""
        row, text = self.row, self.measure.unit.text
        if len(row) <= FEW:
            return self.text
        ends = f"first {text(row[0])}, last {text(row[-1])}"
        return f"{self.measure.logged} {text(fmean(row))} on average ({ends})"

    @property
    def validation(self) -> list[float] | None:
        """The same on validation samples, if there are any."""
        row: list[float] | None = getattr(self, f"{self.measure.logged}_validation")
        return row

    @model_validator(mode="after")
    def _measured(self) -> Evaluation:
        if self.accuracy is None and self.mse is None:
            raise ValueError("has no measurement")
        return self


class Alarm(_Line):
    """A term of the objective that had no effect during a task."""

    event: Literal["alarm"] = "alarm"
    task: Count
    term: str
    message: str


class Logged(_Line):
    """The mean of each number that the strategy has logged since the last such line."""

    event: Literal["strategy"] = "strategy"
    task: Count
    step: Count
    values: dict[str, float]


Event = Annotated[Step | Evaluation | Alarm | Logged, Field(discriminator="event")]
