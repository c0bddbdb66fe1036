"""Faults that turn a strategy into fine-tuning, planted to check that the alarm notices each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from cl_runner.data.batches import Batch
from cl_runner.strategies.ewc import EWC
from cl_runner.strategies.lwf import LwF
from cl_runner.strategies.rehearsal_kd import RehearsalKD
from cl_runner.strategies.si import SI
from cl_runner.strategies.strategy import Strategy
from cl_runner.training.optimizers import adam

Target = Callable[..., Any]


class TheStudent:
    """A teacher that is really the network in training."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def __call__(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            outputs: Tensor = self.network(x)
        return outputs

    def learn_from(self, network: nn.Module) -> None:
        pass


def taught_by_itself(target: Any) -> Target:
    """The strategy, with the network in training as its teacher."""

    @wraps(target)
    def faulty(network: nn.Module, **settings: Any) -> Any:
        strategy = target(network, **settings)
        del strategy.teacher
        strategy.teacher = TheStudent(network)
        return strategy

    return faulty


def with_changed(
    term: str, change: Callable[[Tensor], Tensor]
) -> Callable[[type[Strategy]], Target]:
    """The strategy with one term of its objective changed."""

    def planted(target: type[Strategy]) -> Target:
        class Faulty(target):  # type: ignore[valid-type, misc]
            def objective(self, batch: Batch) -> dict[str, Tensor]:
                terms: dict[str, Tensor] = super().objective(batch)
                return {n: change(t) if n == term else t for n, t in terms.items()}

        return Faulty

    return planted


def after_each_task(act: Callable[[Any], object]) -> Callable[[type[Strategy]], Target]:
    """The strategy with `act` applied to it at the end of each task."""

    def planted(target: type[Strategy]) -> Target:
        class Faulty(target):  # type: ignore[valid-type, misc]
            def end_task(self, task: Any) -> None:
                super().end_task(task)
                act(self)

        return Faulty

    return planted


def anchored_where_it_is(target: type[Strategy]) -> Target:
    """EWC with a θ* that follows θ."""

    class Faulty(target):  # type: ignore[valid-type, misc]
        def objective(self, batch: Batch) -> dict[str, Tensor]:
            theta = nn.utils.parameters_to_vector(self.network.parameters()).detach()
            self.fisher.anchor.copy_(theta)
            objective: dict[str, Tensor] = super().objective(batch)
            return objective

    return Faulty


@wraps(adam)
def of_copies(parameters: Any, task: int, **settings: Any) -> torch.optim.Optimizer:
    """Adam, but from the second task on with copies of the weights."""
    if task == 0:
        return adam(parameters, task, **settings)
    return adam([p.detach().clone() for g in parameters for p in g["params"]], task, **settings)


@dataclass(frozen=True)
class Fault:
    """`plant` changes the strategy's class. `inert` is what the alarm must name in later tasks."""

    name: str
    strategy: Any
    inert: str
    plant: Callable[[Any], Target] = lambda target: target
    overrides: tuple[str, ...] = ()
    optimizer: Target | None = None


KD = {"lwf": LwF, "kd": LwF, "rehearsal_kd": RehearsalKD}
FAULTS = [
    *(
        Fault(f"{option}: the teacher is the student", strategy, "distillation", taught_by_itself,
              (f"strategy={option}",))
        for option, strategy in KD.items()
    ),
    *(
        Fault(f"rehearsal_kd on {on}: the teacher is the student", RehearsalKD, "distillation",
              taught_by_itself, ("strategy=rehearsal_kd", f"strategy.distil_on={on}"))
        for on in ("current", "memory")
    ),
    *(
        Fault(f"{option}: {name}", strategy, term, with_changed(term, change),
              (f"strategy={option}",))
        for name, change in (
            ("the term is detached", torch.Tensor.detach),
            ("the term times 0", lambda term: 0 * term),
            ("the term times 1e-30", lambda term: 1e-30 * term),
        )
        for option, strategy, term in (
            ("lwf", LwF, "distillation"), ("ewc", EWC, "ewc"), ("si", SI, "si"),
            ("rehearsal_kd", RehearsalKD, "distillation"), ("rehearsal_kd", RehearsalKD, "replay"),
        )
    ),
    Fault("ewc: Fisher × 1e-30", EWC, "ewc",
          after_each_task(lambda s: s.fisher.weight.mul_(1e-30)), ("strategy=ewc",)),
    Fault("ewc: Fisher × 0", EWC, "ewc",
          after_each_task(lambda s: s.fisher.weight.zero_()), ("strategy=ewc",)),
    Fault("ewc: θ* follows θ", EWC, "ewc", anchored_where_it_is, ("strategy=ewc",)),
    Fault("si: Ω × 1e-30", SI, "si",
          after_each_task(lambda s: s.springs.weight.mul_(1e-30)), ("strategy=si",)),
    *(
        Fault(f"{option}: {name}", strategy, "all weights",
              overrides=(f"strategy={option}", "optimizer=sgd", f"optimizer.lr=[0.01,{lr}]"))
        for name, lr in (("lr 0 from the second task on", "0"), ("lr too small", "1e-30"))
        for option, strategy in (("lwf", LwF), ("ewc", EWC))
    ),
    Fault("lwf: the optimizer has copies", LwF, "all weights", overrides=("strategy=lwf",),
          optimizer=of_copies),
]  # fmt: skip
