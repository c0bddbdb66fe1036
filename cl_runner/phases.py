"""The phases of a task: which layers train, with which weight decay, for how many epochs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cl_runner.types import NonNegative, PerTask, PositiveInt, at_task


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A part of a task's training. Each begins with a fresh optimizer."""

    epochs: PositiveInt
    layers: Literal["all", "head"]  # head: the classifier and an inserted layer
    weight_decay: NonNegative | None  # None: the optimizer's own


def by_epoch(
    epochs: PerTask[int], later: Sequence[Phase] | None, task: int
) -> list[tuple[Phase, bool]]:
    """For each epoch of a task the phase it is in, and whether that phase begins with it.

    epochs: of a task that is one phase, as the first always is; later: the phases of each task
    after the first, None if those are one phase too.
    """
    whole = Phase(epochs=at_task(epochs, task), layers="all", weight_decay=None)
    phases = [whole] if later is None or task == 0 else later
    return [(phase, epoch == 0) for phase in phases for epoch in range(phase.epochs)]
