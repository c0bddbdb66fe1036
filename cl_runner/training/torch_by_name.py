"""Optimizers of `torch.optim` and schedules of `torch.optim.lr_scheduler`, chosen by name."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.optim import lr_scheduler

from cl_runner.config.setting_types import NonNegative, PerTask, at_task
from cl_runner.config.targets import target
from cl_runner.errors import ConfigError, first_line, nearest
from cl_runner.training.optimizers import Parameters, with_rates
from cl_runner.training.schedulers import Per, Place, Scheduler

Arguments = dict[str, Any]
LRScheduler = lr_scheduler.LRScheduler
REFUSED = {
    "LBFGS": "needs the loss as a function, which it calls several times in a step",
    "Muon": "only takes matrices, and networks also have biases",
    "SparseAdam": "only takes sparse gradients, and networks have dense ones",
    "ReduceLROnPlateau": "needs a measurement; early_stopping watches held-out samples",
    "LambdaLR": "needs a function, and settings hold plain values",
    "MultiplicativeLR": "needs a function, and settings hold plain values",
    "ChainedScheduler": "needs other schedulers; scheduler=warm_up takes one",
    "SequentialLR": "needs other schedulers; scheduler=warm_up takes one",
}
"""Classes that a run cannot use, and why."""
OURS = {"params", "lr", "differentiable", "optimizer", "last_epoch"}
"""Arguments that the run passes, or has a setting of its own for."""
LENGTH = {"CosineAnnealingLR": "T_max", "OneCycleLR": "total_steps"}
"""Arguments that are the length of a task unless they are given."""
WRONG = (TypeError, ValueError, ArithmeticError, LookupError)
"""What torch's classes raise for arguments that they cannot use."""
TRIED = 1009
"""Length of the task on which arguments are tried: a prime, so no usual share of it is one step."""
ONE_LENGTH = {"total_steps", "epochs", "steps_per_epoch"}
"""Arguments with which OneCycleLR would fail after its last step; it lasts as long as the task."""


@target
def optimizer(
    parameters: Parameters,
    task: int,
    *,
    name: str,
    lr: PerTask[NonNegative],
    head_lr: PerTask[NonNegative] | None,
    arguments: dict[str, Any] | None,
) -> torch.optim.Optimizer:
    """The optimizer of `torch.optim` with this name, for this task; arguments: further ones of its
    class, as torch's documentation names them."""
    kind = _named(name, torch.optim, torch.optim.Optimizer)
    given, rate = _checked(kind, arguments, set()), at_task(lr, task)
    try:
        made: torch.optim.Optimizer = kind(with_rates(parameters, head_lr, task), lr=rate, **given)
        like = made.param_groups[0]["params"][0]
        one = nn.Parameter(like.new_zeros(1))
        one.grad = torch.zeros_like(one)
        kind([one], lr=rate, **given).step()  # some arguments would only fail in the first step
    except (*WRONG, RuntimeError, AssertionError) as error:
        raise ConfigError.of("arguments", arguments, _says(name, error)) from None
    return made


@dataclass(frozen=True, kw_only=True)
class Schedule(Scheduler):
    """The learning rates of a class of `torch.optim.lr_scheduler`: the n-th step or epoch of a task
    has the rate that the class gives after n of its own steps.

    arguments: those of the class, as torch's documentation names them. `T_max` is the length of the
    task unless it is given; OneCycleLR always lasts as long as the task. Only the learning rate is
    taken, not a momentum.
    """

    name: str
    arguments: dict[str, Any] | None
    per: Per
    rates: dict[tuple[float, int], _Rates] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )  # by the first rate and the length; only saves time

    def __post_init__(self) -> None:
        """Refuse at once what would fail in a later step."""
        try:
            rates = [self._rate(1.0, step, TRIED) for step in range(10)]
        except WRONG as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError.of("arguments", self.arguments, _says(self.name, error)) from None
        if not all(0 <= rate < math.inf for rate in rates):
            allowed = f"{self.name} gives a learning rate that is negative or not finite"
            raise ConfigError.of("arguments", self.arguments, allowed)

    @property
    def formula(self) -> str:
        return self.name

    def rate(self, base: float, place: Place) -> float:
        number, count = place.counted(self.per)
        try:
            return self._rate(base, number, count)
        except ArithmeticError as error:  # OneCycleLR, where pct_start is one step
            allowed = f"cannot be spread over {count} {self.per}s ({first_line(error)})"
            hint = "another length of the task, or other scheduler.arguments"
            raise ConfigError.of("scheduler.name", self.name, allowed, hint) from None

    def _rate(self, base: float, number: int, count: int) -> float:
        """After this number of steps of the scheduler, in a task of so many."""
        if (base, count) not in self.rates:
            self.rates[base, count] = self._begun(base, count)
        return self.rates[base, count].at(number)

    def _begun(self, base: float, count: int) -> _Rates:
        kind = _named(self.name, lr_scheduler, LRScheduler)
        refused = ONE_LENGTH if self.name == "OneCycleLR" else set()
        given = _checked(kind, self.arguments, refused)
        cycles = "cycle_momentum" in inspect.signature(kind).parameters
        if cycles and given.get("cycle_momentum", True):
            allowed = f"only the learning rate changes, but {self.name} would change a momentum too"
            hint = f"scheduler.arguments={_with(given, 'cycle_momentum: false')}"
            raise ConfigError.of("arguments", self.arguments, allowed, hint)
        if length := LENGTH.get(self.name):
            given = {length: count, **given}
        follows = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=base)
        return _Rates(follows, kind(follows, **given))


class _Rates:
    """The rates that a scheduler of torch's gives, computed as far as they are asked for."""

    def __init__(self, follows: torch.optim.Optimizer, scheduler: Any) -> None:
        self.follows, self.scheduler = follows, scheduler
        self.known = [self._now()]

    def at(self, number: int) -> float:
        """After this number of steps."""
        while len(self.known) <= number:
            self.follows.step()  # torch warns unless it comes first; there is no gradient
            self.scheduler.step()
            self.known.append(self._now())
        return self.known[number]

    def _now(self) -> float:
        return float(self.follows.param_groups[0]["lr"])


def _named(name: str, module: Any, base: type) -> Any:
    """The class of torch with this name. Raises ConfigError if there is none that a run can use."""
    every = {n: c for n, c in vars(module).items() if inspect.isclass(c) and issubclass(c, base)}
    known = sorted(n for n in every if n not in REFUSED and every[n] is not base and n[0] != "_")
    if name in REFUSED:
        raise ConfigError.of("name", name, REFUSED[name], f"known are {', '.join(known)}")
    if name not in known:
        alike = {other.lower(): other for other in known}  # rmsprop, ExponentialLr
        near = alike.get(name.lower())
        hint = f"did you mean {near}?" if near else nearest(name, known)
        allowed = f"is no class of {module.__name__}"
        raise ConfigError.of("name", name, allowed, hint or f"known are {', '.join(known)}")
    return every[name]


def _checked(kind: Any, given: Mapping[str, Any] | None, refused: set[str]) -> Arguments:
    """The arguments, lists as tuples. Raises ConfigError for a name that its class does not have,
    and for one that it needs and lacks."""
    declared = inspect.signature(kind).parameters
    possible = [name for name in declared if name not in OURS | refused]
    for name, value in (given or {}).items():
        if name in refused:
            allowed = f"{kind.__name__} lasts as long as the task"
            raise ConfigError.of(f"arguments.{name}", value, allowed, "leave it out")
        if name not in possible:
            allowed = f"no such argument of {kind.__name__}"
            hint = nearest(name, possible) or f"known are {', '.join(possible)}"
            raise ConfigError.of(f"arguments.{name}", value, allowed, hint)
    needed = [
        name
        for name in possible
        if declared[name].default is inspect.Parameter.empty and LENGTH.get(kind.__name__) != name
    ]
    if lacking := [name for name in needed if name not in (given or {})]:
        allowed = f"{kind.__name__} also needs {', '.join(lacking)}"
        raise ConfigError.of("arguments", given, allowed, f"arguments={{{lacking[0]}: …}}")
    return {k: tuple(v) if isinstance(v, list) else v for k, v in (given or {}).items()}


def _says(name: str, error: Exception) -> str:
    return f"{name} does not take them: {first_line(error).rstrip('.')}"


def _with(given: Mapping[str, Any], more: str) -> str:
    shown = [f"{name}: {value}" for name, value in given.items() if name != "cycle_momentum"]
    return "{" + ", ".join([*shown, more]) + "}"
