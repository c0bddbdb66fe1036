"""`results.json`: what a run has measured and the metrics, one schema for all runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from statistics import fmean
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    model_serializer,
    model_validator,
)

from cl_runner.forgetting import OWN, key_of, labels_of
from cl_runner.measures import MEASURES, Measure
from cl_runner.metrics import METRICS, TAKEN, Curve, Matrix, Metric, Records
from cl_runner.records import Array, BySample, Samples
from cl_runner.run_folder.outcome_parts import Accuracies, Cost, Environment, Errors, Task
from cl_runner.run_folder.schemas import (
    Count,
    ErrorMatrix,
    Node,
    Share,
    ShareMatrix,
    Strict,
    with_text,
)

SCHEMA = 1
log = logging.getLogger("cl_runner")


@dataclass(frozen=True)
class Kept:
    """Reads what a run keeps of each test sample, for metrics that ask for it; None if it keeps
    none. warn: told of a metric that fails. The context in which `Results` are validated."""

    samples: Callable[[Results], Samples | None] = lambda _: None
    logits: Callable[[Results], BySample | None] = lambda _: None
    warn: Callable[[str], None] = log.warning


def _measure(name: str) -> str:
    if name not in MEASURES:
        raise ValueError(f"known are {', '.join(MEASURES)}")
    return name


class Results(Strict):
    """What a complete run has measured. In the file each metric has its own key, in the place of
    `metrics`. Metrics that the file lacks are computed from the rest."""

    schema_number: Annotated[Count, Field(alias="schema", le=SCHEMA)] = SCHEMA
    experiment: str
    dataset: str
    model: str
    strategy: str
    optimizer: str
    seed: Count
    conventions: Annotated[Node, with_text("scenario")]
    tasks: Annotated[list[Task], Field(min_length=1)]
    accuracy: ShareMatrix | None = None
    accuracy_task_il: ShareMatrix | None = None
    accuracy_validation: ShareMatrix | None = None
    accuracy_reference: ShareMatrix | None = None
    accuracy_curve: list[Accuracies] | None = None
    accuracy_before_learning: list[Share | None] | None = None
    accuracy_untrained: list[Share] | None = None
    mse: ErrorMatrix | None = None
    mse_validation: ErrorMatrix | None = None
    mse_curve: list[Errors] | None = None
    metrics_are_of: Annotated[str, AfterValidator(_measure)]
    metrics: dict[str, float | None]
    alarms: list[str]
    cost: Cost
    environment: Environment

    def document(self) -> dict[str, Any]:
        """The content of the file."""
        return self.model_dump(by_alias=True)

    @property
    def measure(self) -> Measure:
        return MEASURES[self.metrics_are_of]

    @property
    def headline(self) -> list[Metric]:
        """The metrics to show first."""
        return [METRICS[name] for name in self.measure.headline]

    @property
    def matrix(self) -> Matrix:
        """The matrix that metrics are computed from: row t after task t, a column for each task."""
        matrix: Matrix = getattr(self, self.metrics_are_of)
        return matrix

    @property
    def class_ranges(self) -> list[range]:
        """The classes of each task as the stream numbers them: one after another, unless tasks
        share them. Raises ValueError if a task has no classes, as in regression."""
        sizes = [len(task.classes or ()) for task in self.tasks]
        if 0 in sizes:
            raise ValueError("a task has no classes")
        if self.shares_classes:
            return [range(size) for size in sizes]
        return [range(end - size, end) for size, end in zip(sizes, accumulate(sizes), strict=True)]

    @property
    def shares_classes(self) -> bool:
        """Whether all tasks have the same classes."""
        return bool(self.conventions["scenario"] == "domain_incremental")

    @property
    def class_labels(self) -> list[str]:
        """What the data set calls each class, its name or its number, in the order of learning."""
        tasks = self.tasks[:1] if self.shares_classes else self.tasks
        return [str(name) for task in tasks for name in task.class_names or task.classes or ()]

    @property
    def names_task(self) -> bool:
        """Whether the task is given at test time, so that only its own classes compete."""
        return self.metrics_are_of == "accuracy_task_il"

    @property
    def validation(self) -> Matrix | None:
        """The same on validation samples, if there are any."""
        matrix: Matrix | None = getattr(self, f"{self.measure.logged}_validation")
        return matrix

    @property
    def validation_mean(self) -> float | None:
        """The mean of its last row, over all tasks: the criterion for choosing settings."""
        rows = self.validation
        return None if rows is None else fmean(v for v in rows[-1] if v is not None)

    @property
    def objective(self) -> float | None:
        """The same, with the sign for which more is better; None if nothing is held out. Test data
        has no part in it."""
        mean = self.validation_mean
        return None if mean is None else self.measure.gain(mean)

    @property
    def curve(self) -> Curve | None:
        """At each evaluation, the task being learned and the values of the tasks so far."""
        if self.accuracy_curve is not None:
            return [(point.task, point.accuracy) for point in self.accuracy_curve]
        if self.mse_curve is not None:
            return [(point.task, point.mse) for point in self.mse_curve]
        return None

    def records(self, kept: Kept) -> Records:
        """The input of the metrics."""
        return Records(
            R=self.accuracy_task_il if self.metrics_are_of == "accuracy_task_il" else self.accuracy,
            M=self.mse,
            sizes=[task.test for task in self.tasks],
            curve=None if self.accuracy_curve is None else self.curve,
            before=self.accuracy_before_learning,
            untrained=self.accuracy_untrained,
            reference=self.accuracy_reference,
            classes=None if self.measure.has_fits else self.class_ranges,
            of_samples=cache(lambda: kept.samples(self)),
            of_logits=cache(lambda: kept.logits(self)),
        )

    @model_validator(mode="before")
    @classmethod
    def _gathered(cls, node: Any) -> Any:
        """The metrics of the file as one mapping. Under the name of a metric of the user's, a file
        from elsewhere may have something else."""
        if not isinstance(node, Mapping):
            return node
        rest = {key: value for key, value in node.items() if key not in METRICS}
        stored = {
            name: node[name]
            for name, metric in METRICS.items()
            if name in node
            and (not metric.is_own or node[name] is None or metric.allows(node[name]))
        }
        return {**rest, "metrics": stored}

    @model_serializer(mode="wrap")
    def _flat(self, as_mapping: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Each metric under its own key."""
        flat: dict[str, Any] = {}
        for key, value in as_mapping(self).items():
            flat |= value if key == "metrics" else {key: value}
        return flat

    @model_validator(mode="after")
    def _fits(self, info: ValidationInfo) -> Results:
        matrices = {
            name: getattr(self, name)
            for name in (*MEASURES, "accuracy_validation", "accuracy_reference", "mse_validation")
        }
        if matrices[self.metrics_are_of] is None:
            raise ValueError(f"lacks {self.metrics_are_of}")
        for name, rows in matrices.items():
            if rows is not None and not _is_matrix(rows, len(self.tasks)):
                raise ValueError(f"{name} is not a matrix with one row per task")
        if any(t >= len(self.tasks) or len(row) != t + 1 for t, row in self.curve or ()):
            raise ValueError("the curve has values for other tasks")
        self._complete_metrics(info.context or Kept())
        return self

    def _complete_metrics(self, kept: Kept) -> None:
        """Add the metrics that the file lacks, in the order of the registry."""
        records, stored = self.records(kept), self.metrics
        self.metrics = {}
        for name, metric in METRICS.items():
            value = stored[name] if name in stored else metric.of(records, kept.warn)
            if value is not None and abs(value) > metric.unit.limit:
                raise ValueError(f"{name} is out of range")
            self.metrics[name] = value
        if self.metrics[self.measure.headline[0]] is None:
            raise ValueError(f"lacks {self.measure.headline[0]}")


TAKEN.update(field.alias or name for name, field in Results.model_fields.items())


def samples_in(arrays: Mapping[str, Array], of: Results) -> Samples:
    """From the arrays of `predictions.npz`."""
    labels = [arrays[labels_of(task)] for task in range(len(of.tasks))]
    return Samples(labels, by_sample(arrays, of, OWN if of.names_task else ""))


def by_sample(arrays: Mapping[str, Array], of: Results, ending: str = "") -> BySample:
    """Those of each task after each task, under the names in `forgetting.py`."""
    return [[arrays[key_of(t, k) + ending] for k in range(t + 1)] for t in range(len(of.tasks))]


def _is_matrix(rows: Sequence[Sequence[float | None]], size: int) -> bool:
    """Whether it is square, with a value at each place on and below the diagonal."""
    return len(rows) == size and all(
        len(row) == size and None not in row[: t + 1] for t, row in enumerate(rows)
    )
