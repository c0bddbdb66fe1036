"""What the files of a folder must contain: keys, types and ranges.

Other keys are allowed. Types are strict: `"1"` and `true` are not numbers. For `results.json` see
`outcome.py`, for `metrics.jsonl` see `events.py`.
"""

from __future__ import annotations

from dataclasses import fields
from functools import cache, reduce
from operator import or_
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model

from cl_runner.config.annotations import UNIONS, is_node
from cl_runner.config.factory import hints_of
from cl_runner.config.traits import run_settings
from cl_runner.hidden import WORD
from cl_runner.measures import ERROR, SHARE, standard_error

Share = Annotated[float, Field(ge=-SHARE.limit, le=SHARE.limit)]
Error = Annotated[float, Field(ge=-ERROR.limit, le=ERROR.limit)]
Spread = Annotated[float, Field(ge=0, le=ERROR.limit)]
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0, le=1e12)]
Node: TypeAlias = dict[str, Any]
ShareMatrix: TypeAlias = list[list[Share | None]]
ErrorMatrix: TypeAlias = list[list[Error | None]]


def with_text(key: str) -> AfterValidator:
    """Check that the node has a text under this key."""

    def checked(node: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(node.get(key), str):
            raise ValueError(f"lacks {key}")
        return node

    return AfterValidator(checked)


def _folder_name(name: str) -> str:
    if name in ("", ".", "..") or Path(name).name != name or "\0" in name:
        raise ValueError("must be the name of a folder in the same place")
    return name


FolderName = Annotated[str, AfterValidator(_folder_name)]
"""The name of a folder next to the file."""
Id = Annotated[str, Field(pattern="^[0-9a-f]{8}$")]
"""The identifier of a run or a sweep in W&B."""
OUTSIDE = "too low", "too high"
"""The verdicts on a number beyond the allowed range."""
Masked = Annotated[str, Field(pattern=f"^({WORD.pattern})$")]


class Strict(BaseModel):
    model_config = ConfigDict(
        strict=True, extra="allow", allow_inf_nan=False, arbitrary_types_allowed=True
    )


@cache
def settings() -> type[BaseModel]:
    """config.yaml: each value has the type of its setting or is masked; any may be missing. Ranges
    and everything below a node are checked when the run continues."""
    hints = hints_of(run_settings(), "")
    forms: dict[str, Any] = {f.name: (_loose(hints[f.name]), None) for f in fields(run_settings())}
    return create_model("Settings", __base__=Strict, **forms)


def _loose(hint: Any) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _loose(arguments[0])
    if origin in UNIONS:
        return reduce(or_, map(_loose, arguments))
    if origin is list:
        return list[_loose(arguments[0])] | Masked  # type: ignore[misc]
    if is_node(hint):
        return Node
    return str if origin is Literal else hint if hint is NoneType else hint | Masked


class Status(Strict):
    """status.json; only `status` and the error if a job failed before its run began."""

    status: Literal["running", "complete", "failed", "interrupted"]
    pid: Count = 0
    host: str = ""
    run_id: Id | Literal[""] = ""
    attempt: Annotated[int, Field(ge=1)] = 0
    settings: str = ""
    names: dict[str, str] = {}
    code: dict[str, str] = {}  # the digest of each package of the user's, when the run was begun
    exit_code: Count = 1  # of the error
    error: str = ""
    traceback: str = ""

    @property
    def complaint(self) -> str:
        """The first line of the error."""
        return next(iter(self.error.splitlines()), "")


class Job(Strict):
    folder: FolderName
    varied: dict[str, str]
    overrides: list[str]


class Ledger(Strict):
    """sweep.json."""

    sweep: FolderName
    id: Id | None
    jobs: list[Job]


class Judged(Strict):
    """A published number and ours, in percent if `percent`."""

    row: str
    published: Error | None
    sd: Spread | None = None  # as published, or
    sem: Spread | None = None
    seeds: Count | None = None  # of the published number
    mean: Error | None
    deviation: Spread | None
    allowed: Spread | None = None
    percent: bool
    n: Count
    verdict: str
    origin: str = "verified"
    explanation: str = ""

    @property
    def published_error(self) -> float | None:
        """The standard error of the published mean; None if no spread was published."""
        return standard_error(self.sd, self.seeds) if self.sem is None else self.sem

    @property
    def error(self) -> float | None:
        """The standard error of our mean; None for fewer than two seeds."""
        return standard_error(self.deviation, self.n)

    @property
    def is_outside(self) -> bool:
        return self.verdict in OUTSIDE


class Judgement(Strict):
    """verdict.json."""

    suite: str
    rows: list[Judged] = []
