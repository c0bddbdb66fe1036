"""The alarm: a task in which no weight changes, or a term of the objective does nothing.

A penalty or a distillation term that is silently zero, is computed without a gradient, or compares
the network with itself turns its strategy into fine-tuning, and the numbers look plausible. So each
task is watched until a step has changed a weight and, from the second task on, until each term has
once given a gradient that counts; what never does is reported.

The terms' gradients are added in floating point, so one counts by its size beside the largest. What
is left of a term whose parts cancel, as those of distillation from the network itself, is rounding:
each part is right to half a unit of the last place, ε/2 (ε = 1.2e-7 in single precision), and the
sums over classes and samples let a few such errors meet. So it is of the size of ε times the task's
gradient, measured up to 6 ε. A term has to give more than 64 ε, 7.6e-6, of the largest gradient
that any term has given in this task; no name is asked for, so it holds for any objective. The
largest of the task and not of the step, because a loss that has been learned perfectly has a
gradient near rounding, too, beside which rounding would count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cl_runner.data.stream import Task

UNITS = 64  # of the precision: what a gradient must be of the largest one, to be more than rounding


class Watch:
    """Watches one task. Costs nothing once weights have changed and every term is alive."""

    def __init__(self, task: Task, parameters: Sequence[nn.Parameter]) -> None:
        self.task = task
        self.parameters = parameters
        self.least = UNITS * max(torch.finfo(p.dtype).eps for p in parameters)
        self.largest: dict[str, float] = {}  # norm of the gradient that each term has given so far
        self.moved = False
        self.steps = 0
        self.before: list[tuple[nn.Parameter, Tensor]] = []

    def look(self, terms: dict[str, Tensor]) -> None:
        """Look at the terms before the backward pass, which still finds its graph.

        A term may rightly be at rest when a task begins (the network is its own teacher), so the
        first eight steps are looked at and then those whose number is a power of two.
        """
        self.steps += 1
        if self.steps > 8 and self.steps & (self.steps - 1):
            return
        learning = [p for p in self.parameters if p.requires_grad]
        if not self.moved:
            self.before = [(p, p.detach().clone()) for p in learning]
        if self.task.first or all(self.share(name) > self.least for name in terms):
            return
        for name, term in terms.items():
            self.largest[name] = max(self.largest.get(name, 0.0), _norm(term, learning))

    def after_step(self) -> None:
        """Look at the weights after the optimizer's step."""
        if self.before:
            self.moved = any(not torch.equal(p, before) for p, before in self.before)
            self.before = []

    def share(self, name: str) -> float:
        """The largest gradient of this term so far, relative to that of any term."""
        largest = max(self.largest.values(), default=0.0)
        return self.largest.get(name, 0.0) / largest if largest > 0 else 0.0

    def alarms(self, strategy: str) -> list[tuple[str, str]]:
        """What did nothing through the whole task, and the warning for it: all weights or a term.

        A term may be at rest in a single step, so that decides nothing. Where no weight changed,
        terms rest for that reason.
        """
        if self.task.likelihood.is_certain(self.task.candidates):
            return []  # rightly, nothing is asked of a weight
        if self.steps > 0 and not self.moved:
            return [("all weights", self._told(strategy, "no weight changed"))]
        if self.steps < 2:
            return []
        return [
            (name, self._told(strategy, _of_term(name, self.share(name))))
            for name in self.largest
            if not self.share(name) > self.least
        ]

    def state_dict(self) -> dict[str, Any]:
        return {"largest": dict(self.largest), "moved": self.moved, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.largest, self.moved = dict(state["largest"]), state["moved"]
        self.steps = state["steps"]

    def _told(self, strategy: str, what: str) -> str:
        return f"strategy {strategy}: {what} during the whole of task {self.task.index + 1}"


def _of_term(name: str, share: float) -> str:
    if share == 0:
        return f"the term '{name}' gave no gradient"
    return f"the gradient of the term '{name}' was at most {share:.1e} of the largest term's"


def _norm(term: Tensor, learning: Sequence[nn.Parameter]) -> float:
    """The norm of the term's gradient over all parameters that learn."""
    if not term.requires_grad:
        return 0.0
    found = torch.autograd.grad(term, learning, retain_graph=True, allow_unused=True)
    norms = torch._foreach_norm([g for g in found if g is not None])
    return float(torch.stack(list(norms)).norm()) if norms else 0.0
