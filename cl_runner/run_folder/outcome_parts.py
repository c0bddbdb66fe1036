"""What the parts of `results.json` contain: tasks, costs, environment, the points of a curve."""

from __future__ import annotations

from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer, model_validator

from cl_runner.run_folder.schemas import Count, Error, Seconds, Share, Strict


class Task(Strict):
    name: str
    classes: list[int] | None
    class_names: list[str] | None = None
    train: Count
    test: Count
    test_sha256: str = "not known"

    @model_validator(mode="after")
    def _a_name_for_each(self) -> Task:
        if self.class_names is not None and len(self.class_names) != len(self.classes or []):
            raise ValueError("class_names must have a name for each of the classes")
        return self

    @model_serializer(mode="wrap")
    def _without_missing_names(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        if self.class_names is None:
            del written["class_names"]
        return written


class Spent(Strict):
    seconds: Seconds
    steps: Count
    samples_forward: Count
    samples_backward: Count
    peak_memory_bytes: Count


class Cost(Spent):
    state_bytes: dict[str, Count]


class Environment(Strict):
    versions: dict[str, str]
    device: str
    threads: Count


class Accuracies(Strict):
    task: Count
    accuracy: list[Share]


class Errors(Strict):
    task: Count
    mse: list[Error]
