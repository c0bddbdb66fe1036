"""Tasks as the data set names them: the domains of CORe50 and the like."""

from __future__ import annotations

from typing import Protocol

import torch

from cl_runner.config.setting_types import DataRoot, Fraction, PositiveInt
from cl_runner.config.targets import target
from cl_runner.data.assemble import Cut, assemble
from cl_runner.data.cuts import groups_of, outlined
from cl_runner.data.samples import Pixels
from cl_runner.data.source import Source, Split, has_features, read
from cl_runner.data.stream import Outline, Scenario, Scope, Stream
from cl_runner.errors import ConfigError, DataError


class WithTasks(Source, Protocol):
    """A data set whose samples belong to tasks."""

    task_names: list[str]
    task_classes: list[list[int]]  # of each task, ascending


@target
class ByColumn:
    """One data set whose samples say to which task they belong (`Manifest`, column `task`).

    In a domain-incremental stream each task has all classes, as the sessions of CORe50 do (Lomonaco
    & Maltoni 2017). In the other scenarios no class is in two tasks.
    """

    def __init__(
        self,
        *,
        source: WithTasks,
        root: DataRoot,
        scenario: Scenario,
        samples_per_task: PositiveInt | None,
        blurry: Fraction,
        repetition: Fraction,
        validation_fraction: Fraction,
        pixels: Pixels,
    ) -> None:
        self.source, self.root = source, root
        self.pixels = pixels.fitting(source.shape, has_features(source))
        self.scenario, self.validation_fraction = scenario, validation_fraction
        self.samples_per_task = samples_per_task
        self.blurry, self.repetition = blurry, repetition
        if not source.task_names:
            allowed = "has no column of tasks"
            hint = "a column task, or _target_: cl_runner.data.cuts.ByClass"
            raise ConfigError.of("source", source.name, allowed, hint)
        if scenario != "domain_incremental":
            self._refuse_shared_classes()

    def outline(self, seed: int) -> Outline:
        every = [list(range(self.source.classes))] * len(self.source.task_names)
        labels = every if self.scenario == "domain_incremental" else self.source.task_classes
        return outlined(self, self.source, self.source.task_names, labels)

    def load(self, *, seed: int, scope: Scope, device: str) -> Stream:
        outline = self.outline(seed)
        train, test = (self._cut(split, outline) for split in read(self.source, self.root))
        return assemble(outline, train, test, self.pixels, scope=scope, seed=seed, device=device)

    def _cut(self, split: Split, outline: Outline) -> Cut:
        tasks = split.tasks
        if tasks is None:
            raise DataError(f"data error: {self.source.name} has samples without a task")
        number_of = torch.full((len(outline.labels), self.source.classes), -1)
        for task, numbers in enumerate(outline.ranges()):
            number_of[task, outline.labels[task]] = torch.tensor(numbers)
        labels = number_of[tasks, split.labels]
        if (labels < 0).any():
            first = int((labels < 0).nonzero()[0])
            named = self.source.task_names[int(tasks[first])]
            what = f"class {int(split.labels[first])}, which its training split lacks"
            raise DataError(f"data error: task {named} of {self.source.name} is tested on {what}")
        return Cut(split.images, labels, tasks, groups_of(split))

    def _refuse_shared_classes(self) -> None:
        home: dict[int, str] = {}
        for task, classes in zip(self.source.task_names, self.source.task_classes, strict=True):
            for label in classes:
                other = home.setdefault(label, task)
                if other != task:
                    allowed = f"class {label} is in the tasks {other} and {task}"
                    hint = "scenario=domain_incremental"
                    raise ConfigError.of("scenario", self.scenario, allowed, hint)
