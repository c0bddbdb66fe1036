"""How the learning rate changes within a task: a function of the position, so without a state."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Literal

from cl_runner.config.setting_types import (
    Fraction,
    NonEmpty,
    NonNegative,
    PositiveInt,
    UnitInterval,
)
from cl_runner.config.targets import target

Per = Literal["step", "epoch"]
"""How often the rate changes."""


@dataclass(frozen=True)
class Place:
    """Where an optimizer step is in the budget of its task."""

    step: int  # from 0
    steps: int  # of the task
    per_epoch: int

    def counted(self, per: Per) -> tuple[int, int]:
        """The number of this step or epoch, from 0, and how many there are in the task."""
        if per == "step":
            return self.step, self.steps
        return self.step // self.per_epoch, math.ceil(self.steps / self.per_epoch)


@target
class Scheduler(ABC):
    """The learning rate at each place, from the optimizer's own rate."""

    @abstractmethod
    def rate(self, base: float, place: Place) -> float:
        """The rate of the step at this place; base: what the optimizer's settings say."""

    @property
    def formula(self) -> str:
        """Its name in `results.json`."""
        return type(self).__name__


@dataclass(frozen=True, kw_only=True)
class Constant(Scheduler):
    """The optimizer's own rate."""

    def rate(self, base: float, place: Place) -> float:
        return base


@dataclass(frozen=True, kw_only=True)
class Cosine(Scheduler):
    """Half a cosine from the rate towards `min_lr` (Loshchilov & Hutter 2017, eq. 5)."""

    min_lr: NonNegative
    per: Per

    def rate(self, base: float, place: Place) -> float:
        number, count = place.counted(self.per)
        return _cosine(base, self.min_lr, number / count)


@dataclass(frozen=True, kw_only=True)
class CosineWarmRestarts(Scheduler):
    """One epoch at a tenth of the rate, then half cosines from it towards `min_lr` over 1, 2, 4,
    8, … epochs (Loshchilov & Hutter 2017; GDumb's settings)."""

    min_lr: NonNegative

    def rate(self, base: float, place: Place) -> float:
        epoch, _ = place.counted("epoch")
        if epoch == 0:
            return base / 10
        length = 1 << (epoch.bit_length() - 1)  # of the cycle, which begins at epoch `length`
        return _cosine(base, self.min_lr, (epoch - length) / length)


@dataclass(frozen=True, kw_only=True)
class Step(Scheduler):
    """The rate times `gamma` for each milestone passed, a share of the task's steps or epochs."""

    milestones: NonEmpty[UnitInterval]
    gamma: UnitInterval
    per: Per

    def rate(self, base: float, place: Place) -> float:
        number, count = place.counted(self.per)
        return base * self.gamma ** sum(number / count >= share for share in self.milestones)


@dataclass(frozen=True, kw_only=True)
class WarmUp(Scheduler):
    """A straight line from `start` times the rate to the rate over `length` steps or epochs (Goyal
    et al. 2017, section 2.2), and then another scheduler for the rest of the task."""

    length: PositiveInt
    start: Fraction
    per: Per
    then: Scheduler

    def rate(self, base: float, place: Place) -> float:
        number, _ = place.counted(self.per)
        if number < self.length:
            return base * (self.start + (1 - self.start) * number / self.length)
        gone = self.length * (place.per_epoch if self.per == "epoch" else 1)
        rest = replace(place, step=place.step - gone, steps=place.steps - gone)
        return self.then.rate(base, rest)


def lowest(scheduler: Scheduler, key: str) -> tuple[str, float]:
    """The rate at which it ends, and the key of that setting; zero if it has none."""
    if isinstance(scheduler, WarmUp):
        return lowest(scheduler.then, f"{key}.then")
    return f"{key}.min_lr", getattr(scheduler, "min_lr", 0.0)


def _cosine(base: float, lowest: float, share: float) -> float:
    return lowest + (base - lowest) * (1 + math.cos(math.pi * share)) / 2
