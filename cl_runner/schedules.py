"""The learning rate within a task, as a function of the epoch: nothing to remember, or to lose."""

from __future__ import annotations

from math import cos, pi
from typing import Literal

LrSchedule = Literal["constant", "cosine_warm_restarts"]


def learning_rate(schedule: LrSchedule, base: float, lowest: float, epoch: int) -> float:
    """The rate in this epoch, counted from 0.

    `cosine_warm_restarts`: an epoch at a tenth of `base`, then half cosines from `base` towards
    `lowest` over 1, 2, 4, 8, … epochs (Loshchilov & Hutter 2017; GDumb's settings).
    """
    if schedule == "constant":
        return base
    if epoch == 0:
        return base / 10
    length = 1 << (epoch.bit_length() - 1)  # of the cycle, which begins with epoch `length`
    return lowest + (base - lowest) * (1 + cos(pi * (epoch - length) / length)) / 2
