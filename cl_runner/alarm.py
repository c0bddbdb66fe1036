"""The alarm: a term of the objective that does nothing from the second task on.

A penalty or a distillation term that is silently zero, or is computed without a gradient, turns
its strategy into fine-tuning, and the numbers look plausible. So each term is watched through
each task after the first until it has once given a gradient; one that never does is reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cl_runner.stream import Task


class Watch:
    """Watches the terms through one task. Costs nothing once every term has proved alive."""

    def __init__(self, task: Task, parameters: Sequence[nn.Parameter]) -> None:
        self.task = task
        self.parameters = parameters
        self.alive: dict[str, bool] = {}
        self.steps = 0

    def look(self, terms: dict[str, Tensor]) -> None:
        """Look at the terms before the backward pass, which still finds its graph.

        A term may rightly be at rest when a task begins (the network is its own teacher), so the
        first eight steps are looked at and then those whose number is a power of two.
        """
        self.steps += 1
        if self.task.first or (self.steps > 8 and self.steps & (self.steps - 1)):
            return
        for name, term in terms.items():
            if not self.alive.get(name, False):
                self.alive[name] = self._gives_gradient(term)

    def inert(self) -> list[str]:
        """The terms without effect through the whole task; a single step decides nothing."""
        return [name for name, alive in self.alive.items() if not alive] if self.steps > 1 else []

    def state_dict(self) -> dict[str, Any]:
        return {"alive": dict(self.alive), "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.alive, self.steps = dict(state["alive"]), state["steps"]

    def _gives_gradient(self, term: Tensor) -> bool:
        if not term.requires_grad:
            return False
        learning = [p for p in self.parameters if p.requires_grad]
        gradients = torch.autograd.grad(term, learning, retain_graph=True, allow_unused=True)
        return any(g is not None and bool(g.any()) for g in gradients)


def message(strategy: str, term: str, task: Task) -> str:
    """The warning for one inert term."""
    return (
        f"strategy {strategy}: the term '{term}' gave no gradient through the whole of task "
        f"{task.index + 1}; without it the strategy is not what its name says"
    )
