"""What must be in the files of a folder for whoever reads them: keys, types and ranges.

More keys may be there. Types are strict: `"1"` and `true` are no numbers. `results.json` is in
`outcome.py`, `metrics.jsonl` in `events.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from cl_runner.measures import ERROR, SHARE

Share = Annotated[float, Field(ge=-SHARE.limit, le=SHARE.limit)]
Error = Annotated[float, Field(ge=-ERROR.limit, le=ERROR.limit)]
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0, le=1e12)]
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
    """status.json; a job that failed before it was a run has its state alone."""

    status: Literal["running", "complete", "failed", "interrupted"]
    pid: Count = 0
    host: str = ""
    run_id: Id | Literal[""] = ""
    attempt: Annotated[int, Field(ge=1)] = 0
    settings: str = ""
    names: dict[str, str] = {}
    error: str = ""
    traceback: str = ""

    @property
    def complaint(self) -> str:
        """The first line of the error."""
        return next(iter(self.error.splitlines()), "")


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
