"""Schedulers: the rate of each step, compared with torch's own schedulers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from optimizer_steps import optimizer_steps
from running import run_here
from torch.optim import lr_scheduler

from cl_runner.training.schedulers import (
    Constant,
    Cosine,
    CosineWarmRestarts,
    Place,
    Scheduler,
    Step,
    WarmUp,
)

BASE, PER_EPOCH, STEPS = 0.4, 5, 33  # six epochs and three steps of a seventh
COSINE = Cosine(min_lr=0.01, per="step")


def theirs(make: Callable[[torch.optim.Optimizer], Any], count: int) -> list[float]:
    """The rates of torch's scheduler."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=BASE)
    scheduler, rates = make(optimizer), []
    for _ in range(count):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def ours(scheduler: Scheduler) -> list[float]:
    return [scheduler.rate(BASE, Place(step, STEPS, PER_EPOCH)) for step in range(STEPS)]


def spread(rates: list[float]) -> list[float]:
    """A rate per epoch as one per step."""
    return [rate for rate in rates for _ in range(PER_EPOCH)][:STEPS]


@pytest.mark.parametrize("per", ["step", "epoch"])
@pytest.mark.parametrize("name", ["constant", "cosine", "step", "warm-up, cosine", "warm-up, step"])
def test_each_step_has_the_rate_of_torchs_scheduler(name: str, per: Any) -> None:
    count = STEPS if per == "step" else 7
    up, rest = (10, count - 10) if per == "step" else (2, count - 2)
    cosine, step = Cosine(min_lr=0.01, per=per), Step(milestones=[0.4, 0.8], gamma=0.1, per=per)

    def of_cosine(optimizer: Any, length: int = count) -> Any:
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=length, eta_min=0.01)

    def of_step(optimizer: Any, length: int = count) -> Any:
        ends = [-(-2 * length // 5), -(-4 * length // 5)]
        return lr_scheduler.MultiStepLR(optimizer, milestones=ends, gamma=0.1)

    def after_warm_up(then: Callable[..., Any]) -> Callable[[Any], Any]:
        def both(optimizer: Any) -> Any:
            line = lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=up)
            parts = [line, then(optimizer, rest)]
            return lr_scheduler.SequentialLR(optimizer, parts, milestones=[up])

        return both

    pairs: dict[str, tuple[Scheduler, Callable[[Any], Any]]] = {
        "constant": (Constant(), lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
        "cosine": (cosine, of_cosine),
        "step": (step, of_step),
        "warm-up, cosine": (
            WarmUp(length=up, start=0.1, per=per, then=cosine),
            after_warm_up(of_cosine),
        ),
        "warm-up, step": (WarmUp(length=up, start=0.1, per=per, then=step), after_warm_up(of_step)),
    }
    scheduler, make = pairs[name]
    expected = theirs(make, count)
    assert ours(scheduler) == pytest.approx(expected if per == "step" else spread(expected))


def test_a_warm_up_longer_than_the_task_never_gets_there() -> None:
    rates = ours(WarmUp(length=100, start=0.0, per="step", then=COSINE))
    assert rates == pytest.approx([BASE * step / 100 for step in range(STEPS)])


def test_warm_restarts_begin_anew_after_1_2_4_epochs() -> None:
    rates = ours(CosineWarmRestarts(min_lr=0.01))[::PER_EPOCH]
    assert rates[0] == BASE / 10
    assert [epoch for epoch, rate in enumerate(rates) if rate == BASE] == [1, 2, 4]
    assert all(b < a for n, (a, b) in enumerate(pairwise(rates)) if n not in (0, 1, 3))


@pytest.mark.parametrize("budget", [("epochs=[2,3]",), ("epochs=null", "steps=[8,12]")])
def test_a_run_has_these_rates_in_every_task(budget: tuple[str, ...], tmp_path: Path) -> None:
    """Four steps an epoch; each task has its own budget and rate."""
    with optimizer_steps() as steps:
        run_here(tmp_path / "run", *budget, "batch_size=75", "model.widths=[4]",
                 "dataset.tasks=2", "optimizer=sgd", "optimizer.lr=[0.4,0.2]",
                 "scheduler=cosine", "scheduler.min_lr=0.01")  # fmt: skip
    used = [step.settings["lr"] for step in steps]
    ends = [(0.4, 8), (0.2, 12)]
    expected = [COSINE.rate(lr, Place(n, count, 4)) for lr, count in ends for n in range(count)]
    assert used == expected
