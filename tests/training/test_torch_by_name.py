"""Optimizers and schedules of torch by name: they do what torch's own classes do side by side."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from optimizer_steps import optimizer_steps
from running import composed, final_state, run_here
from stopping import stopped_and_continued
from torch import nn
from torch.optim import lr_scheduler

from cl_runner.errors import ConfigError
from cl_runner.training.run import build_strategy
from cl_runner.training.schedulers import Place
from cl_runner.training.state import check_fits
from cl_runner.training.torch_by_name import REFUSED, Schedule

BASE, PER_EPOCH, STEPS = 0.4, 5, 33  # six epochs and three steps of a seventh
TINY = ("dataset.tasks=2", "batch_size=100", "epochs=2", "model.widths=[6]")
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "Adadelta": {"rho": 0.8}, "Adafactor": {}, "Adagrad": {"lr_decay": 0.1},
    "Adam": {"amsgrad": True}, "AdamW": {"betas": [0.8, 0.99]}, "Adamax": {},
    "ASGD": {"t0": 2.0}, "NAdam": {}, "RAdam": {},
    "RMSprop": {"alpha": 0.9, "momentum": 0.5, "centered": True}, "Rprop": {"etas": [0.4, 1.3]},
    "SGD": {"momentum": 0.9, "dampening": 0.1},
}  # fmt: skip
SCHEDULES: dict[str, dict[str, Any]] = {
    "ConstantLR": {"factor": 0.5, "total_iters": 3},
    "CosineAnnealingLR": {"T_max": 4, "eta_min": 0.1},
    "CosineAnnealingWarmRestarts": {"T_0": 2, "T_mult": 2},
    "CyclicLR": {"base_lr": 0.1, "max_lr": 0.7, "step_size_up": 3, "cycle_momentum": False},
    "ExponentialLR": {"gamma": 0.95},
    "LinearLR": {"start_factor": 0.25},
    "MultiStepLR": {"milestones": [2, 5], "gamma": 0.3},
    "PolynomialLR": {"total_iters": 6, "power": 2.0},
    "StepLR": {"step_size": 2},
}


def typed(group: str, name: str, arguments: dict[str, Any]) -> list[str]:
    given = str(arguments).replace("'", "").replace(" ", "")
    words = [f"{group}=torch", f"{group}.name={name}"]
    return [*words, f"{group}.arguments={given}"] if arguments else words


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_step_is_that_of_torchs_class(name: str, tmp_path: Path) -> None:
    """Which gets the same weights and gradients."""
    words = [*TINY, "optimizer.lr=0.02", "optimizer.head_lr=0.05"]
    with optimizer_steps() as steps:
        run_here(tmp_path / "run", *words, *typed("optimizer", name, OPTIMIZERS[name]))
    steps = [step for step in steps if len(step.parameters) > 1]  # but for the trial of arguments
    assert len(steps) > 10
    ours = steps[: sum(step.parameters[0] is steps[0].parameters[0] for step in steps) // 2]
    mine = [nn.Parameter(before) for before in ours[0].before]
    shapes = [tuple(p.shape) for p in mine]
    body = [p for p, shape in zip(mine, shapes, strict=True) if shape in ((6, 64), (6,))]
    head = [p for p in mine if not any(p is other for other in body)]
    groups = [{"params": body}, {"params": head, "lr": 0.05}]
    theirs = getattr(torch.optim, name)(groups, lr=0.02, **OPTIMIZERS[name])
    for step in ours:
        for parameter, gradient in zip(mine, step.gradients, strict=True):
            parameter.grad = gradient
        theirs.step()
        for parameter, after in zip(mine, step.after, strict=True):
            assert torch.allclose(parameter, after, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("per", ["step", "epoch"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_each_step_has_the_rate_of_torchs_schedule(name: str, per: Any) -> None:
    count = STEPS if per == "step" else 7
    follows = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=BASE)
    theirs, expected = getattr(lr_scheduler, name)(follows, **SCHEDULES[name]), []
    for _ in range(count):
        expected.append(follows.param_groups[0]["lr"])
        follows.step()
        theirs.step()
    schedule = Schedule(name=name, arguments=SCHEDULES[name], per=per)
    places = [Place(step, STEPS, PER_EPOCH) for step in range(STEPS)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rates = [schedule.rate(BASE, place) for place in places]
        assert [schedule.rate(BASE, place) for place in reversed(places)] == rates[::-1]
    assert rates == [expected[place.counted(per)[0]] for place in places]
    assert schedule.formula == name


def test_what_lasts_as_long_as_the_task_ends_with_it() -> None:
    """A cosine reaches its end, and one cycle its last rate, in tasks of any length."""
    cosine = Schedule(name="CosineAnnealingLR", arguments=None, per="step")
    cycle = {"max_lr": 1.0, "cycle_momentum": False, "final_div_factor": 100.0}
    once = Schedule(name="OneCycleLR", arguments=cycle, per="step")
    for steps in (20, 300):
        halfway = cosine.rate(BASE, Place(steps // 2, steps, 10))
        assert halfway == pytest.approx(BASE / 2)
        assert once.rate(BASE, Place(steps - 1, steps, 10)) == pytest.approx(1.0 / 25 / 100)
        assert max(once.rate(BASE, Place(n, steps, 10)) for n in range(steps)) > 0.99


def test_one_cycle_may_begin_with_a_tenth_but_not_with_a_single_step() -> None:
    """Of which torch makes a division by zero."""
    given = {"max_lr": 1.0, "cycle_momentum": False, "pct_start": 0.1}
    once = Schedule(name="OneCycleLR", arguments=given, per="step")
    assert once.rate(BASE, Place(29, 300, 10)) == pytest.approx(1.0)
    with pytest.raises(ConfigError, match=r"OneCycleLR: cannot be spread over 10 steps \(float"):
        once.rate(BASE, Place(0, 10, 10))


def test_the_names_are_all_that_torch_has() -> None:
    """A class that a later torch brings is seen here."""

    def names(module: Any, base: type) -> set[str]:
        every = {n for n, c in vars(module).items() if isinstance(c, type) and issubclass(c, base)}
        return {n for n in every if n[0] != "_"} - REFUSED.keys() - {base.__name__}

    assert names(torch.optim, torch.optim.Optimizer) == {*OPTIMIZERS}
    assert names(lr_scheduler, lr_scheduler.LRScheduler) == {*SCHEDULES, "OneCycleLR"}


@pytest.mark.parametrize("name", ["NAdam", "RMSprop", "Adafactor", "ASGD"])
def test_a_run_that_stopped_continues_bit_for_bit(name: str, tmp_path: Path) -> None:
    """In the second task, with a schedule."""
    halved = typed("scheduler", "ExponentialLR", {"gamma": 0.5})
    words = [*TINY, *typed("optimizer", name, OPTIMIZERS[name]), *halved, "reset_optimizer=false"]
    whole = run_here(tmp_path / "whole", *words)
    assert whole["conventions"]["scheduler"] == "ExponentialLR"
    stopped_and_continued(tmp_path / "stopped", *words, at=whole["cost"]["steps"] - 3)
    for file in ("metrics.jsonl", "predictions.npz"):
        one, other = ((tmp_path / run / file).read_bytes() for run in ("whole", "stopped"))
        assert one == other


def test_a_state_of_another_optimizer_is_refused(tmp_path: Path) -> None:
    words = [*TINY, *typed("optimizer", "RMSprop", {"alpha": 0.9})]
    run_here(tmp_path / "run", *words)
    state, strategy = final_state(tmp_path / "run"), build_strategy(composed(*words))
    optimizer = composed(*words).optimizer(list(strategy.parameters()), 0)
    state["optimizer"]["param_groups"] = optimizer.state_dict()["param_groups"]
    state["optimizer"]["state"] = {
        n: {"step": torch.tensor(1.0), "square_avg": torch.zeros_like(p)}
        for n, p in enumerate(strategy.parameters())
    }
    check_fits(state, strategy, optimizer)
    state["optimizer"]["state"][0]["square_avg"] = torch.zeros(1)
    with pytest.raises(ValueError, match="parameter 0"):
        check_fits(state, strategy, optimizer)
    state["optimizer"]["state"][0] = {"step": torch.tensor(1.0), "exp_avg": torch.zeros(1)}
    with pytest.raises(ValueError, match="parameter 0"):
        check_fits(state, strategy, optimizer)


NAME, GIVEN = "optimizer.name", "optimizer.arguments"
SCHEDULE, OF_IT = "scheduler.name", "scheduler.arguments"
UNUSABLE = [
    ([f"{NAME}=rmsprop"],
     f"{NAME}=rmsprop: is no class of torch.optim. Hint: did you mean RMSprop?"),
    ([f"{NAME}=LBFGS"], f"{NAME}=LBFGS: needs the loss as a function"),
    ([f"{NAME}=SparseAdam"], "only takes sparse gradients"),
    ([f"{NAME}=Optimizer"], "is no class of torch.optim"),
    ([f"{GIVEN}={{alfa:0.9}}"],
     f"{GIVEN}.alfa=0.9: no such argument of RMSprop. Hint: did you mean alpha?"),
    ([f"{GIVEN}={{lr:0.9}}"], f"{GIVEN}.lr=0.9: no such argument of RMSprop"),
    ([f"{NAME}=Muon"], f"{NAME}=Muon: only takes matrices"),
    ([f"{GIVEN}={{alpha:-1}}"], "RMSprop does not take them: Invalid alpha value: -1."),
    ([f"{NAME}=Adam", f"{GIVEN}={{betas:[0.9]}}"], "Adam does not take them: tuple index out of"),
    ([f"{NAME}=Rprop", f"{GIVEN}={{step_sizes:[0.1]}}"], "Rprop does not take them: not enough"),
    ([f"{NAME}=Adam", f"{GIVEN}={{capturable:true}}"], "Adam does not take them: If capturable"),
    ([f"{NAME}=Adam", f"{GIVEN}={{fused:true,foreach:true}}"], "cannot be `True` together."),
    ([f"{GIVEN}={{alpha:much}}"], "RMSprop does not take them: "),
    ([f"{SCHEDULE}=ReduceLROnPlateau"], f"{SCHEDULE}=ReduceLROnPlateau: needs a measurement"),
    ([f"{SCHEDULE}=LambdaLR"], "needs a function"),
    ([f"{SCHEDULE}=ExponentialLR"],
     f"{OF_IT}=null: ExponentialLR also needs gamma. Hint: arguments={{gamma: …}}"),
    ([f"{SCHEDULE}=OneCycleLR", f"{OF_IT}={{max_lr:1,total_steps:5}}"],
     f"{OF_IT}.total_steps=5: OneCycleLR lasts as long as the task. Hint: leave it out"),
    ([f"{SCHEDULE}=OneCycleLR", f"{OF_IT}={{max_lr:1}}"],
     f"change a momentum too. Hint: {OF_IT}={{max_lr: 1, cycle_momentum: false}}"),
    ([f"{SCHEDULE}=StepLR", f"{OF_IT}={{step_size:0}}"], "StepLR does not take them: "),
    ([f"{SCHEDULE}=ExponentialLR", f"{OF_IT}={{gamma:-1}}"], "negative or not finite"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "line"), UNUSABLE)
def test_what_cannot_be_used_is_one_line(words: list[str], line: str) -> None:
    with pytest.raises(ConfigError) as raised:
        build_strategy(composed("optimizer=torch", "scheduler=torch", *words))
    assert line in str(raised.value) and "\n" not in str(raised.value)
