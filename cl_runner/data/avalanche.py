"""The benchmarks of Avalanche as streams: each of its experiences is a task."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import torch

from cl_runner.config.setting_types import DataRoot, Fraction, PositiveInt
from cl_runner.config.targets import target
from cl_runner.data.assemble import Cut, assemble
from cl_runner.data.avalanche_experiences import (
    Argument,
    Experience,
    built,
    checked,
    factory_of,
    read,
    shape_of,
)
from cl_runner.data.samples import Pixels
from cl_runner.data.source import in_words
from cl_runner.data.stream import Outline, Scenario, Scope, Stream
from cl_runner.errors import ConfigError, DataError


@target
class FromAvalanche:
    """A benchmark of `avalanche.benchmarks.classic`, such as SplitMNIST (Carta et al. 2023,
    arXiv:2302.01766). Each experience is a task, with the samples that it has there.

    `arguments` are the benchmark's own; null stands for five experiences, where it wants a number.
    Its seed is that of the run unless it is among them, its folder is `root`, and it transforms
    nothing: `pixels` prepares its pictures. Avalanche itself downloads what the folder lacks.
    """

    def __init__(
        self,
        *,
        benchmark: str,
        arguments: dict[str, Argument] | None,
        root: DataRoot,
        scenario: Scenario,
        samples_per_task: PositiveInt | None,
        blurry: Fraction,
        repetition: Fraction,
        validation_fraction: Fraction,
        pixels: Pixels,
    ) -> None:
        self.benchmark, self.root = benchmark, root
        self.scenario, self.validation_fraction = scenario, validation_fraction
        self.samples_per_task = samples_per_task
        self.blurry, self.repetition = blurry, repetition
        self.pixels = pixels
        self.arguments = checked(factory_of(benchmark), arguments)

    def outline(self, seed: int) -> Outline:
        train, _ = self._experiences(seed)
        classes = [each.classes for each in train]
        self._check_scenario(train)
        shape, features = shape_of(self.benchmark, train[0])
        self._check_pixels(shape, features)
        apart = len(set().union(*classes)) == sum(map(len, classes))
        names = [
            in_words(mine, None) if apart else f"experience {number}"
            for number, mine in enumerate(classes, start=1)
        ]
        return Outline(
            self.scenario,
            names,
            classes,
            self.pixels.padded(shape),
            self.validation_fraction,
            self.samples_per_task,
            features,
            self.pixels.augments,
            blurry=self.blurry,
            repetition=self.repetition,
        )

    def load(self, *, seed: int, scope: Scope, device: str) -> Stream:
        outline = self.outline(seed)
        train, test = (self._cut(side, outline) for side in self._experiences(seed))
        return assemble(outline, train, test, self.pixels, scope=scope, seed=seed, device=device)

    def _experiences(self, seed: int) -> tuple[list[Experience], list[Experience]]:
        if not self.root:  # or Avalanche would look, and download, wherever the caller is
            allowed = "is needed: the benchmark says which classes there are"
            raise ConfigError.of("root", None, allowed, "root=FOLDER")
        return built(self.benchmark, json.dumps(self.arguments), self.root, seed)

    def _cut(self, experiences: Sequence[Experience], outline: Outline) -> Cut:
        images, labels, tasks = [], [], []
        for task, (each, numbers) in enumerate(zip(experiences, outline.ranges(), strict=True)):
            pictures, own = read(self.benchmark, each)
            number_of = torch.full((max(max(each.classes), *outline.labels[task]) + 1,), -1)
            number_of[outline.labels[task]] = torch.tensor(numbers)
            images.append(pictures)
            labels.append(number_of[own])
            tasks.append(torch.full_like(own, task))
        whole = torch.cat(labels)
        if (whole < 0).any():
            where = f"data error: {self.benchmark}: an experience is tested"
            raise DataError(f"{where} on a class that its training samples lack")
        return Cut(torch.cat(images), whole, torch.cat(tasks), torch.arange(len(whole)))

    def _check_pixels(self, shape: tuple[int, int, int], features: bool) -> None:
        try:
            self.pixels.fitting(shape, features)
        except ConfigError as error:
            problems = (replace(p, key=f"dataset.{p.key}") for p in error.problems)
            raise ConfigError(*problems) from None

    def _check_scenario(self, experiences: Sequence[Experience]) -> None:
        """Raise ConfigError where classes are in several tasks that the scenario keeps apart."""
        sets = [set(each.classes) for each in experiences]
        alike = all(classes == sets[0] for classes in sets)
        shared = sorted(c for c in set().union(*sets) if sum(c in classes for classes in sets) > 1)
        if self.scenario == "domain_incremental":
            fits = alike or (not shared and len({len(classes) for classes in sets}) == 1)
        else:
            heads = len({each.label for each in experiences}) == len(experiences)
            fits = not shared or (self.scenario == "task_incremental" and heads)
        if fits:
            return
        what = f"class {shared[0]} is in several experiences" if shared else "they differ in size"
        allowed = f"does not fit {self.benchmark}: {what}"
        hint = "dataset.scenario=domain_incremental" if alike else ""
        if alike and self.scenario == "task_incremental":
            hint += ", or return_task_id: true among the arguments"
        raise ConfigError.of("dataset.scenario", self.scenario, allowed, hint)
