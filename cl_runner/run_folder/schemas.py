"""What must be in the files of a folder for whoever reads them: keys, types and ranges.

More keys may be there. Types are strict: `"1"` and `true` are no numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=-2, le=2)]  # a difference of accuracies, rounding included
Error = Annotated[float, Field(ge=-1e80, le=1e80)]  # its square is a number, too
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0, le=1e12)]
Errors: TypeAlias = list[list[Error | None]] | None
Shares: TypeAlias = list[list[Share | None]] | None
Node: TypeAlias = dict[str, Any]


def saying(key: str) -> AfterValidator:
    """Of a node that must have this key, with a text."""

    def checked(node: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(node.get(key), str):
            raise ValueError(f"says no {key}")
        return node

    return AfterValidator(checked)


def _beside(name: str) -> str:
    if name in ("", ".", "..") or Path(name).name != name or "\0" in name:
        raise ValueError("names a folder elsewhere")
    return name


Beside = Annotated[str, AfterValidator(_beside)]
"""The name of a folder beside the file."""
Id = Annotated[str, Field(pattern="^[0-9a-f]{8}$")]
"""What W&B knows a run or a sweep by."""


class Strict(BaseModel):
    model_config = ConfigDict(
        strict=True, extra="allow", allow_inf_nan=False, arbitrary_types_allowed=True
    )


class Settings(Strict):
    """config.yaml. What a part is set to is that part's own business."""

    dataset: Node = {}
    model: Node = {}
    strategy: Node = {}
    optimizer: Node = {}
    tracker: Node | None = None
    checkpoint: Node = {}
    seed: Count = 0
    device: str = ""
    threads: Count | None = None
    epochs: Count | list[Count] = 0
    later_phases: list[Node] | None = None
    batch_size: Count = 0
    lr_schedule: str = ""
    min_lr: float = 0.0
    clip_gradient: float | None = None
    ce_scope: str = ""
    reset_optimizer: bool = True
    evaluate_every: Count | str | None = None
    log_every: Count = 0
    first_task_cache: str | None = None
    output_root: str = ""
    reference: str | None = None
    resume: str | None = None
    name: str = ""
    plan: bool = False
    trusted_targets: list[str] | None = None


class Status(Strict):
    """status.json; a job that failed before it was a run says its state alone."""

    status: Literal["running", "complete", "failed", "interrupted"]
    pid: Count = 0
    host: str = ""
    run_id: Id | Literal[""] = ""
    attempt: Annotated[int, Field(ge=1)] = 1
    settings: str = ""
    names: dict[str, str] = {}
    error: str = ""
    traceback: str = ""


class Task(Strict):
    name: str
    classes: list[int] | None
    train: Count
    test: Count
    test_sha256: str = ""


class Cost(Strict):
    seconds: Seconds
    steps: Count
    samples_forward: Count
    samples_backward: Count
    peak_memory_bytes: Count
    state_bytes: dict[str, Count]


class Environment(Strict):
    versions: dict[str, str]
    device: str
    threads: Count


class Shared(Strict):
    task: Count
    accuracy: list[Share]


class Fitted(Strict):
    task: Count
    mse: list[Error]


class Results(Strict):
    """results.json."""

    experiment: str
    dataset: str
    model: str
    strategy: str
    optimizer: str
    seed: Count
    conventions: Annotated[Node, saying("scenario")]
    tasks: Annotated[list[Task], Field(min_length=1)]
    metrics_are_of: Literal["accuracy", "accuracy_task_il", "mse"]
    accuracy: Shares
    accuracy_task_il: Shares
    accuracy_validation: Shares
    accuracy_curve: list[Shared] | None
    accuracy_before_learning: list[Share | None] | None
    accuracy_untrained: list[Share] | None
    mse: Errors
    mse_validation: Errors
    mse_curve: list[Fitted] | None
    average_accuracy: Share | None
    overall_accuracy: Share | None
    average_incremental_accuracy: Share | None
    overall_incremental_accuracy: Share | None = None
    learning_accuracy: Share | None
    forgetting: Share | None
    backward_transfer: Share | None
    forward_transfer: Share | None
    intransigence: Share | None
    min_accuracy: Share | None
    stability_gap: Share | None
    average_mse: Error | None
    mse_growth: Error | None
    alarms: list[str]
    cost: Cost
    environment: Environment

    @model_validator(mode="after")
    def _fits(self) -> Results:
        shares = ("accuracy", "accuracy_task_il", "accuracy_validation")
        matrices = {name: getattr(self, name) for name in (*shares, "mse", "mse_validation")}
        if matrices[self.metrics_are_of] is None:
            raise ValueError(f"lacks {self.metrics_are_of}")
        if (self.average_mse if self.metrics_are_of == "mse" else self.average_accuracy) is None:
            raise ValueError("lacks the average")
        for name, rows in matrices.items():
            if rows is not None and not _is_matrix(rows, len(self.tasks)):
                raise ValueError(f"{name} is no matrix with a row a task")
        curves = [(p.task, p.accuracy) for p in self.accuracy_curve or ()]
        curves += [(p.task, p.mse) for p in self.mse_curve or ()]
        if any(task >= len(self.tasks) or len(row) != task + 1 for task, row in curves):
            raise ValueError("a curve has values of other tasks")
        return self


def _is_matrix(rows: Sequence[Sequence[float | None]], size: int) -> bool:
    """Square, and known on and below the diagonal."""
    return len(rows) == size and all(
        len(row) == size and None not in row[: t + 1] for t, row in enumerate(rows)
    )


class _AtStep(Strict):
    task: Count
    step: Count


class Step(_AtStep):
    event: Literal["step"]
    epoch: Count
    loss: float
    terms: dict[str, float]


class Evaluation(_AtStep):
    event: Literal["evaluation", "within_task"]
    accuracy: Annotated[list[Share], Field(min_length=1)] = []
    accuracy_validation: Annotated[list[Share], Field(min_length=1)] = []
    mse: Annotated[list[Error], Field(min_length=1)] = []
    mse_validation: Annotated[list[Error], Field(min_length=1)] = []

    @model_validator(mode="after")
    def _measured(self) -> Evaluation:
        if not self.accuracy and not self.mse:
            raise ValueError("measured nothing")
        return self


class Alarm(Strict):
    event: Literal["alarm"]
    task: Count
    term: str
    message: str


Event = Annotated[Step | Evaluation | Alarm, Field(discriminator="event")]
"""A line of metrics.jsonl."""


class Job(Strict):
    folder: Beside
    varied: dict[str, str]
    overrides: list[str]


class Ledger(Strict):
    """sweep.json."""

    sweep: Beside
    id: Id | None
    jobs: list[Job]


class Judged(Strict):
    row: str
    published: Error | None
    mean: Error | None
    deviation: Error | None
    percent: bool
    n: Count
    verdict: str


class Judgement(Strict):
    """verdict.json."""

    suite: str
    rows: list[Judged] = []
