"""The alarm: in a whole task no weight changes, or a term of the objective has no effect.

A penalty or distillation term may be zero by mistake, computed without a gradient, or compare the
network with itself. Then the strategy is just fine-tuning, and its numbers look plausible. So each
task is watched until a step has changed a weight and, from the second task on, until each term has
given a gradient that counts. A term that never does is reported.

The gradients of the terms are added in floating point, so what counts is the size relative to the
largest. If the parts of a term cancel, as in distillation from the network itself, rounding is
left. Each part is exact to half a unit in the last place, ε/2 (ε = 1.2e-7 in single precision), and
sums over classes and samples add up a few such errors. The rest is about ε times the gradient of
the task's loss; we measured up to 6 ε. So a term has to give more than 64 ε, 7.6e-6, of the largest
gradient that any term has given in this task. That holds for any objective. It is the largest of
the task, not of the step: a loss that has been learned perfectly has a gradient near rounding, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cl_runner.data.stream import Task

MOST = torch.finfo(torch.float32).max
"""A norm may overflow where no gradient does."""
NOTHING_LEARNED = "so nothing was learned. Hint: is the learning rate 0, or all frozen?"
NO_GRADIENT = (
    "so it did nothing there. Hint: is its weight 0, or is it computed from detached tensors?"
)
TOO_SMALL = (
    "too little to do anything there. Hint: give the term more weight; in a single task it may be "
    "right: what was learned almost perfectly leaves a penalty of almost 0"
)
"""What each warning means, and what to do."""
UNITS = 64  # of ε, relative to the largest gradient: what is smaller may be rounding


class Watch:
    """Watches one task. Costs nothing once a weight has changed and each term has an effect."""

    def __init__(self, task: Task, parameters: Sequence[nn.Parameter]) -> None:
        self.task = task
        self.parameters = parameters
        self.least = UNITS * max(torch.finfo(p.dtype).eps for p in parameters)
        self.largest: dict[str, float] = {}  # the norm of the gradient of each term so far
        self.moved = False
        self.steps = 0
        self.before: list[tuple[nn.Parameter, Tensor]] = []

    def look(self, terms: dict[str, Tensor]) -> None:
        """Look at the terms before the backward pass, and keep its graph.

        A term may rightly have no gradient when a task begins (the network is its own teacher). So
        the first eight steps are examined, then those whose number is a power of two.
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
            norm = min(_norm(term, learning), MOST)
            self.largest[name] = max(self.largest.get(name, 0.0), norm)

    def after_step(self) -> None:
        """Look at the weights after the optimizer's step."""
        if self.before:
            self.moved = any(not torch.equal(p, before) for p, before in self.before)
            self.before = []

    def share(self, name: str) -> float:
        """The largest gradient of this term so far, relative to the largest of any term."""
        largest = max(self.largest.values(), default=0.0)
        return self.largest.get(name, 0.0) / largest if largest > 0 else 0.0

    def alarms(self, strategy: str) -> list[tuple[str, str]]:
        """What had no effect in the whole task, `all weights` or a term, and the warning for it.

        If no weight changed, that explains the terms, too. A single step is not enough to tell.
        """
        if self.task.likelihood.is_certain(self.task.candidates):
            return []  # there is nothing to learn, so nothing is wrong
        if self.steps > 0 and not self.moved:
            warning = self._warning(strategy, "no weight changed", NOTHING_LEARNED)
            return [("all weights", warning)]
        if self.steps < 2 or self._nothing_to_keep():
            return []
        return [
            (name, self._warning(strategy, *_inert(name, self.share(name))))
            for name in self.largest
            if not self.share(name) > self.least
        ]

    def _nothing_to_keep(self) -> bool:
        """Whether earlier tasks leave no choice, as after a first task of a single class. Then
        there was nothing to learn, and what is to keep it rightly has no effect."""
        old = self.task.old_groups
        return not self.task.first and all(map(self.task.likelihood.is_certain, old))

    def state_dict(self) -> dict[str, Any]:
        return {"largest": dict(self.largest), "moved": self.moved, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.largest, self.moved = dict(state["largest"]), state["moved"]
        self.steps = state["steps"]

    def _warning(self, strategy: str, what: str, meaning: str) -> str:
        task = self.task.index + 1
        return f"strategy {strategy}: {what} during the whole of task {task}, {meaning}"


def _inert(name: str, share: float) -> tuple[str, str]:
    """What was seen, and what it means."""
    if share == 0:
        return f"the term '{name}' gave no gradient", NO_GRADIENT
    seen = f"the gradient of the term '{name}' was at most {share:.1e} of the largest term's"
    return seen, TOO_SMALL


def _norm(term: Tensor, learning: Sequence[nn.Parameter]) -> float:
    """The norm of the term's gradient over all parameters that learn."""
    if not term.requires_grad:
        return 0.0
    gradients = torch.autograd.grad(term, learning, retain_graph=True, allow_unused=True)
    reached = [g for g in gradients if g is not None]
    return float(torch.stack(list(torch._foreach_norm(reached))).norm()) if reached else 0.0
