"""One run: for each task train, consolidate, evaluate, log."""

from __future__ import annotations

import logging
import math
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cl_runner import environment, results
from cl_runner.alarm import Watch, message
from cl_runner.batches import Batch, Samples, batches
from cl_runner.cost import Cost
from cl_runner.errors import ConfigError, Diverged
from cl_runner.evaluator import Evaluator
from cl_runner.models.network import Network
from cl_runner.randomness import seeded
from cl_runner.settings import Settings
from cl_runner.strategies.strategy import Strategy
from cl_runner.stream import Stream, Task
from cl_runner.tracking.local import LocalFiles
from cl_runner.tracking.progress import Progress
from cl_runner.tracking.tracker import RunInfo, Trackers
from cl_runner.types import at_task

log = logging.getLogger("cl_runner")


def run(
    settings: Settings, folder: Path, *, config: dict[str, Any], names: dict[str, str]
) -> dict[str, Any]:
    """Run one experiment and return what its `results.json` holds.

    config: the composed settings as they are written down; names: the chosen option of each
    config group. Nothing is written before the settings and the data have been found good.
    """
    device = environment.choose_device(settings.device)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    strategy = build_strategy(settings).to(device)
    reference = results.reference_matrix(settings)
    stream = settings.dataset.load(seed=settings.seed, scope=settings.ce_scope, device=device)
    files = LocalFiles(folder)
    trackers = Trackers([files, Progress(), *([settings.tracker] if settings.tracker else [])])
    training = Training(settings, stream, strategy, trackers, names["strategy"])
    task_names = [task.name for task in stream.tasks]
    with trackers.following(RunInfo(folder, config, names, task_names, training.total_steps())):
        training.cost.start_clock()
        for task in stream.tasks:
            training.learn(task)
        files.save_predictions(training.evaluator.predictions)
        trackers.results = results.compose(
            settings,
            stream,
            names,
            measured=training.evaluator.results(reference),
            alarms=training.alarms,
            cost=training.cost.summary(strategy),
            environment=environment.describe(device),
        )
    return trackers.results


def build_strategy(settings: Settings) -> Strategy:
    """Network and strategy as they are before the first task, a function of the seed."""
    outline = settings.dataset.outline(settings.seed)
    with seeded(settings.seed, "initial weights"):
        network: Network = settings.model(outline.shape, outline.classes)
    strategy: Strategy = settings.strategy(network)
    return strategy


class Training:
    """A run under way: the strategy, its optimizer, and what has been measured so far."""

    def __init__(
        self,
        settings: Settings,
        stream: Stream,
        strategy: Strategy,
        trackers: Trackers,
        name: str,
    ) -> None:
        self.settings, self.stream, self.strategy = settings, stream, strategy
        self.trackers, self.name = trackers, name
        self.parameters = [p for p in strategy.parameters() if p.requires_grad]
        self.optimizer: torch.optim.Optimizer = settings.optimizer(self.parameters, 0)
        self.evaluator = Evaluator(stream)
        self.cost = Cost(strategy.network)
        self.means = Means()
        self.alarms: list[str] = []
        for task in stream.tasks:
            _check_last_batch(self._data(task), settings.batch_size, strategy)

    def learn(self, task: Task) -> None:
        """Train on one task, consolidate, evaluate all tasks so far."""
        self.strategy.network.grow(task)
        self.evaluator.before_task(self.strategy, task)
        self.strategy.begin_task(task)
        self._begin_optimizer(task)
        watch = Watch(task, self.parameters)
        self.train(task, watch)
        self.strategy.end_task(task)
        self._raise_alarms(task, watch)
        self._evaluate(task)

    def train(self, task: Task, watch: Watch) -> None:
        """All steps of one task."""
        self.strategy.train()
        data, batch_size = self._data(task), self.settings.batch_size
        for epoch in range(at_task(self.settings.epochs, task.index)):
            for batch in batches(data, task, epoch=epoch, batch_size=batch_size):
                terms = self._step(batch, watch)
                self._after_step(task, epoch, terms)
        self._log_means(task, epoch)

    def _step(self, batch: Batch, watch: Watch) -> dict[str, float]:
        """One step down the gradient of the sum of the strategy's terms."""
        terms = self.strategy.objective(batch)
        loss = reduce(add, terms.values())
        values = _finite(terms, batch)
        watch.look(terms)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.strategy.after_backward()
        self.optimizer.step()
        self.strategy.after_step()
        return values

    def _after_step(self, task: Task, epoch: int, terms: dict[str, float]) -> None:
        self.cost.steps += 1
        self.means.add(terms)
        self.trackers.advance(task.index, epoch, terms)
        if self.cost.steps % self.settings.log_every == 0:
            self._log_means(task, epoch)
        every = self.settings.evaluate_every
        if every is not None and self.cost.steps % every == 0:
            row = self.evaluator.within_task(self.strategy, task)
            where = {"task": task.index, "step": self.cost.steps}
            self.trackers.log({"event": "within_task", **where, "accuracy": row})

    def _log_means(self, task: Task, epoch: int) -> None:
        """One line with the mean of each term since the last one."""
        terms = self.means.take()
        if terms:
            where = {"task": task.index, "epoch": epoch, "step": self.cost.steps}
            record = {"event": "step", **where, "loss": sum(terms.values()), "terms": terms}
            self.trackers.log(record)

    def _evaluate(self, task: Task) -> None:
        row = self.evaluator.after_task(self.strategy, task)
        where = {"task": task.index, "step": self.cost.steps}
        self.trackers.log({"event": "evaluation", **where, "accuracy": row})
        percent = " ".join(f"{100 * a:.1f}" for a in row)
        place = f"{task.index + 1}/{len(self.stream.tasks)}"
        log.info("task %s (%s): accuracy %s", place, task.name, percent)

    def _raise_alarms(self, task: Task, watch: Watch) -> None:
        for term in watch.inert():
            text = message(self.name, term, task)
            log.warning("%s", text)
            self.alarms.append(text)
            where = {"task": task.index, "term": term}
            self.trackers.log({"event": "alarm", **where, "message": text})

    def _begin_optimizer(self, task: Task) -> None:
        """This task's optimizer; unless reset, it goes on with the last one's momentum."""
        fresh: torch.optim.Optimizer = self.settings.optimizer(self.parameters, task.index)
        if not self.settings.reset_optimizer:
            fresh.state = self.optimizer.state
        self.optimizer = fresh

    def _data(self, task: Task) -> Samples:
        return self.strategy.training_data(self.stream, task)

    def total_steps(self) -> int:
        """Steps of the whole run, for the progress bar."""
        sizes = [len(self._data(task)) for task in self.stream.tasks]
        batch_size, epochs = self.settings.batch_size, self.settings.epochs
        return sum(at_task(epochs, t) * math.ceil(n / batch_size) for t, n in enumerate(sizes))


class Means:
    """The mean of each term since it was last asked for."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.count = 0

    def add(self, terms: dict[str, float]) -> None:
        self.count += 1
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def take(self) -> dict[str, float]:
        means = {name: total / self.count for name, total in self.sums.items()}
        self.sums, self.count = {}, 0
        return means


def _finite(terms: dict[str, Tensor], batch: Batch) -> dict[str, float]:
    """The terms as numbers; raises Diverged, before the weights change, if one is not finite."""
    values: list[float] = torch.stack([term.detach() for term in terms.values()]).tolist()
    named = dict(zip(terms, values, strict=True))
    if not all(map(math.isfinite, values)):
        _, task, epoch, step = batch.position
        raise Diverged(
            f"diverged: the loss is not finite at task {int(task) + 1}, epoch {int(epoch) + 1}, "
            f"step {int(step) + 1}: {', '.join(f'{name} {v:g}' for name, v in named.items())}"
        )
    return named


def _check_last_batch(data: Samples, batch_size: int, strategy: Strategy) -> None:
    """A last batch of one sample has no variance, so BatchNorm cannot train on it."""
    has_batch_norm = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in strategy.modules())
    if has_batch_norm and len(data) % batch_size == 1:
        allowed = f"leaves a last batch of one of {len(data)} samples, which BatchNorm cannot take"
        hint = f"batch_size={batch_size + 1}, or a model without BatchNorm"
        raise ConfigError.of("batch_size", batch_size, allowed, hint)
