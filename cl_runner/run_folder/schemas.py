"""What must be in the files of a folder for whoever reads them: keys, types and ranges.

More keys may be there. Types are strict: `"1"` and `true` are no numbers. `results.json` is in
`outcome.py`, `metrics.jsonl` in `events.py`.
"""

from __future__ import annotations

from dataclasses import fields
from functools import cache, reduce
from operator import or_
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, create_model

from cl_runner.config.annotations import UNIONS, is_node
from cl_runner.config.factory import hints_of
from cl_runner.config.traits import run_settings
from cl_runner.hidden import WORD
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
        raise ValueError("names a folder in another place")
    return name


Beside = Annotated[str, AfterValidator(_beside)]
"""The name of a folder beside the file."""
Id = Annotated[str, Field(pattern="^[0-9a-f]{8}$")]
"""What W&B knows a run or a sweep by."""


Masked = Annotated[str, Field(pattern=f"^({WORD.pattern})$")]


class Strict(BaseModel):
    model_config = ConfigDict(
        strict=True, extra="allow", allow_inf_nan=False, arbitrary_types_allowed=True
    )


@cache
def settings() -> TypeAdapter[Any]:
    """config.yaml: each value has the type of that setting, or is masked; any may be missing.
    Ranges, and all that is below a node, are the run's own business."""
    hints = hints_of(run_settings(), "")
    forms: dict[str, Any] = {f.name: (_loose(hints[f.name]), None) for f in fields(run_settings())}
    return TypeAdapter(create_model("Settings", __base__=Strict, **forms))


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
