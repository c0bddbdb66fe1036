"""What a run says of itself as it goes: the lines of metrics.jsonl, the log, the alarms."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

from torch import Tensor

from cl_runner.data.stream import Task
from cl_runner.evaluation.evaluator import Evaluator
from cl_runner.run_folder.events import Alarm, Evaluation, Logged, Step
from cl_runner.strategies.strategy import Strategy
from cl_runner.tracking.tracker import Trackers
from cl_runner.training.alarm import Watch
from cl_runner.training.cost import Cost
from cl_runner.training.means import Means

log = logging.getLogger("cl_runner")


class Journal:
    """Hands each line to the trackers. `name`: of the strategy."""

    def __init__(
        self, name: str, trackers: Trackers, strategy: Strategy, evaluator: Evaluator, cost: Cost
    ) -> None:
        self.name, self.trackers = name, trackers
        self.strategy, self.evaluator, self.cost = strategy, evaluator, cost
        self.means, self.logged = Means(), Means()  # of the terms; of the strategy's own numbers
        self.alarms: list[str] = []

    def after_step(self, task: Task, epoch: int, terms: dict[str, float]) -> None:
        """Take in what a step has given; `log_means` makes a line of it."""
        self.means.add(terms)
        if self.strategy.logged:
            self.logged.add(_taken(self.strategy.logged))
        self.trackers.advance(task.index, epoch, terms)

    def log_means(self, task: Task, epoch: int, rates: tuple[float | None, float | None]) -> None:
        """Log the mean of each term since the previous time. rates: as `Phases.changed_rates` has
        them."""
        if terms := self.means.take():
            loss, step = sum(terms.values()), self.cost.steps
            line = Step(task=task.index, epoch=epoch, step=step, loss=loss, terms=terms)
            self.trackers.log(line.model_copy(update={"lr": rates[0], "head_lr": rates[1]}))
        self._log_own_numbers(task)

    def evaluate_within(self, task: Task) -> None:
        """Evaluate during the task and log it."""
        self._log_measured("within_task", task, self.evaluator.within_task(self.strategy, task))

    def end_task(self, task: Task, watch: Watch) -> None:
        """Log the strategy's own numbers and the alarms, evaluate all tasks so far and log it."""
        self.logged.add(_taken(self.strategy.logged))
        self._log_own_numbers(task)
        self._raise_alarms(task, watch)
        self._evaluate(task)

    def _log_own_numbers(self, task: Task) -> None:
        """One line with the mean of each number that the strategy has logged since the last one."""
        values = self.logged.take()
        if values:
            self.trackers.log(Logged(task=task.index, step=self.cost.steps, values=values))

    def _raise_alarms(self, task: Task, watch: Watch) -> None:
        for inert, text in watch.alarms(self.name):
            log.warning("%s", text)
            self.alarms.append(text)
            self.trackers.log(Alarm(task=task.index, term=inert, message=text))

    def _evaluate(self, task: Task) -> None:
        row = self.evaluator.after_task(self.strategy, task)
        validation = self.evaluator.validation
        held_out = validation[-1][: task.index + 1] if validation else None
        measured = self._log_measured("evaluation", task, row, held_out)
        place = f"task {task.index + 1}/{len(self.evaluator.tasks)} ({task.name}): "
        log.info("%s%s", place, measured.text, extra={"brief": place + measured.brief})

    def _log_measured(
        self,
        event: str,
        task: Task,
        row: Sequence[float],
        held_out: Sequence[float | None] | None = None,
    ) -> Evaluation:
        measure = self.evaluator.measure
        values = {measure: row, f"{measure}_validation": held_out}
        where = {"task": task.index, "step": self.cost.steps}
        measured = Evaluation.model_validate({"event": event, **where, **values})
        self.trackers.log(measured)
        return measured


def _taken(logged: dict[str, Tensor | float]) -> dict[str, float]:
    """The finite numbers that a strategy has logged; afterwards it has none."""
    taken = {name: float(value) for name, value in logged.items()}
    logged.clear()
    return {name: value for name, value in taken.items() if math.isfinite(value)}
