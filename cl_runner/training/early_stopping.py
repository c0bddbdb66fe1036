"""Early stopping: a task ends when it no longer gets better on its held-out samples."""

from __future__ import annotations

import logging
from typing import Any

from torch import Tensor

from cl_runner.data.stream import Task
from cl_runner.evaluation.evaluator import Evaluator
from cl_runner.measures import MEASURES
from cl_runner.strategies.strategy import Strategy

log = logging.getLogger("cl_runner")


class EarlyStopping:
    """After each epoch, measures on the validation samples of the task. After `patience` epochs
    without a better result than the best so far, the task ends (Prechelt 1998, criterion UP); in
    any case the network gets back the weights and buffers of its best epoch.

    patience: None never stops, measures nothing and keeps no weights.
    """

    def __init__(self, patience: int | None, strategy: Strategy, evaluator: Evaluator) -> None:
        self.patience, self.strategy, self.evaluator = patience, strategy, evaluator
        self.best: float | None = None  # the measure of the best epoch, negated if less is better
        self.since = 0  # epochs since then
        self.weights: dict[str, Tensor] = {}  # of the network, then

    def after_epoch(self, task: Task) -> bool:
        """Whether the task ends here."""
        if self.patience is None:
            return False
        value = self.evaluator.on(self.strategy, task.validation, task, task)
        gain = MEASURES[self.evaluator.measure].gain(value)
        self.since += 1
        if self.best is None or gain > self.best:
            self.best, self.since = gain, 0
            network = self.strategy.network.state_dict()
            self.weights = {name: tensor.clone() for name, tensor in network.items()}
        return self.since >= self.patience

    def end_task(self, task: Task) -> None:
        """Put the weights of the best epoch back."""
        if self.weights:
            self.strategy.network.load_state_dict(self.weights)
            log.info("task %d keeps the weights of %d epochs ago", task.index + 1, self.since)
        self.best, self.since, self.weights = None, 0, {}

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "since": self.since, "weights": dict(self.weights)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.since = state["best"], state["since"]
        self.weights = {name: tensor.clone() for name, tensor in state["weights"].items()}
