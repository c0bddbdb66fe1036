"""One run: for each task train, consolidate, evaluate, log, save."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import Any

import torch

from cl_runner import checks, environment, reference, results, resume, sizes, state
from cl_runner.alarm import Watch
from cl_runner.batches import Batch, batches
from cl_runner.checkpoint import Checkpoints, Saver
from cl_runner.cost import Cost
from cl_runner.evaluator import evaluator_of
from cl_runner.first_task import FirstTask
from cl_runner.interrupt import Signals
from cl_runner.metrics import Matrix
from cl_runner.models.network import Network
from cl_runner.phases import Phases
from cl_runner.randomness import seed_of, seeded
from cl_runner.report.table import number
from cl_runner.run_folder import read
from cl_runner.settings import Settings
from cl_runner.state import Position
from cl_runner.storage import locked
from cl_runner.strategies.strategy import Strategy
from cl_runner.stream import Stream, Task
from cl_runner.tracking.local import LocalFiles
from cl_runner.tracking.means import Means
from cl_runner.tracking.progress import Progress
from cl_runner.tracking.tracker import RunInfo, Trackers

log = logging.getLogger("cl_runner")


def run(
    settings: Settings,
    folder: Path,
    *,
    config: dict[str, Any],
    names: dict[str, str],
    overrides: Sequence[str] = (),
    masks: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Run one experiment, or continue it, and return what its `results.json` holds.

    config: the composed settings as they are written down; names: the chosen option of each
    config group; overrides: the command line's, from which `resume=FOLDER` starts; masks: secret
    values and what is written in their place. With `settings.resume` the run in the folder, if
    there is one, is continued from its newest checkpoint; a complete one is only read. Nothing is
    written before the settings and the data have been found good.
    """
    device = environment.choose_device(settings.device)
    with environment.threads(settings.threads):
        strategy = build_strategy(settings).to(device)
        stream = settings.dataset.load(seed=settings.seed, scope=settings.ce_scope, device=device)
        compared = reference.matrix_of(settings, stream)
        checks.check_batches(strategy, stream, settings.batch_size)
        with locked(folder), Signals() as signals:
            if (complete := resume.finished(folder, config, settings.resume)) is not None:
                return complete
            attempt = resume.next_attempt(folder, config)
            checkpoints = Checkpoints(folder / "checkpoint", attempt.settings)
            saved, warnings = checkpoints.load()
            durable = (saved["metrics_size"], saved["metrics_sha256"]) if saved else (0, None)
            earlier = read.metrics(folder, *durable)
            files = LocalFiles(folder, durable[0])
            mirror = [settings.tracker] if settings.tracker else []
            trackers = Trackers([files, Progress(), *mirror])
            saver = Saver(checkpoints, settings.checkpoint, files, signals)
            training = Training(settings, stream, strategy, trackers, names["strategy"], saver)
            if settings.first_task_cache is not None:
                training.first_task = FirstTask(settings.first_task_cache, config, saver)
            if saved is not None:  # before anything of the folder is changed
                state.put_back(training, saved)
            info = RunInfo(
                folder,
                config,
                names,
                task_names=[task.name for task in stream.tasks],
                steps=training.total_steps(),
                steps_done=training.cost.steps,
                earlier=earlier,
                attempt=attempt,
                overrides=list(overrides),
                masks=masks or {},
            )
            with trackers.following(info), checks.out_of_memory_in_one_line():
                for warning in warnings:
                    log.warning("%s", warning)
                if saved is not None:
                    state.warn_if_other(training, saved)
                    done = training.cost.steps
                    log.info("attempt %d: going on after step %d", attempt.number, done)
                trackers.results = training.to_the_end(files, checkpoints, names, compared)
            signals.obey(folder)
    return trackers.results


def build_strategy(settings: Settings) -> Strategy:
    """Network and strategy as they are before the first task, a function of the seed."""
    outline = settings.dataset.outline(settings.seed)
    sizes.check_parts(settings, outline, environment.choose_device(settings.device))
    with seeded(settings.seed, "initial weights"):
        network: Network = settings.model(outline.shape, outline.classes)
    checks.check_network(network, outline)
    network.classifier.split(outline.births(settings.ce_scope))
    strategy: Strategy = settings.strategy(network)
    settings.optimizer([p for p in strategy.parameters() if p.requires_grad], 0)  # it must be one
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
        saver: Saver | None = None,
    ) -> None:
        self.settings, self.stream, self.strategy = settings, stream, strategy
        self.trackers, self.name, self.saver = trackers, name, saver
        self.parameters = [p for p in strategy.parameters() if p.requires_grad]
        self.position = Position(0)
        self.phases = Phases(settings, strategy.network, self.parameters)
        self.optimizer = self.phases.fresh_optimizer(0)
        self.watch = Watch(stream.tasks[0], self.parameters)
        self.evaluator = evaluator_of(stream)
        self.cost = Cost(strategy)
        self.means = Means()
        self.alarms: list[str] = []
        self.first_task: FirstTask | None = None

    def to_the_end(
        self,
        files: LocalFiles,
        checkpoints: Checkpoints,
        names: dict[str, str],
        compared: Matrix | None,
    ) -> dict[str, Any]:
        """Learn all tasks from where the run is, and put the results together."""
        self.cost.start_clock()
        for task in self.stream.tasks[self.position.task :]:
            self.learn(task)
        files.save_predictions(self.evaluator.predictions)
        checkpoints.prune(1)  # the final state stays: it holds the trained network
        return results.compose(
            self.settings,
            self.stream,
            names,
            measured=self.evaluator.results(compared),
            alarms=self.alarms,
            cost=self.cost.summary(self.strategy),
            environment=environment.describe(str(self.parameters[0].device)),
        )

    def learn(self, task: Task) -> None:
        """Train on one task, consolidate, evaluate all tasks so far."""
        begins = self.position == Position(task.index)
        if begins:
            self._begin(task)
        if begins and task.first and self.first_task is not None:
            self.first_task.train(self)
        else:
            self.train(task)
        self.strategy.end_task(task)
        self._raise_alarms(task)
        self._evaluate(task)
        self.position = Position(task.index + 1)
        if self.saver is not None:
            self.saver.save(partial(state.take, self))

    def _begin(self, task: Task) -> None:
        torch.manual_seed(seed_of(task.seed, task.index, "torch's own generator"))
        self.strategy.network.grow(task)
        self.evaluator.before_task(self.strategy, task)
        self.strategy.begin_task(task)
        fresh = self.phases.fresh_optimizer(task.index)
        if not self.settings.reset_optimizer:
            fresh.state = self.optimizer.state
        self.optimizer = fresh
        if not task.first:
            weight = self.settings.strategy.settings.get("weight")
            checks.check_stability(self.strategy, self.optimizer, task, weight)
        self.watch = Watch(task, self.parameters)

    def train(self, task: Task) -> None:
        """All steps of one task that are not done yet."""
        self.strategy.train()
        data = self.strategy.training_data(self.stream, task)
        batch_size = self.settings.batch_size
        start = self.position
        for epoch in range(start.epoch, self.phases.epochs(task.index)):
            first = start.step if epoch == start.epoch else 0
            if epoch > 0 and first == 0 and self.phases.begins(task.index, epoch):
                self.optimizer = self.phases.fresh_optimizer(task.index, epoch)
            self.phases.enter_epoch(self.optimizer, task.index, epoch)
            epoch_batches = batches(
                data, task, epoch=epoch, batch_size=batch_size, first_step=first
            )
            for step, batch in enumerate(epoch_batches, start=first):
                terms = self._step(batch)
                self.position = Position(task.index, epoch, step + 1)
                self._after_step(task, epoch, terms)
            if self.settings.evaluate_every == "epoch":
                self._evaluate_within(task)
        self.phases.leave_task()
        self._log_means(task, epoch)

    def _step(self, batch: Batch) -> dict[str, float]:
        """One step down the gradient of the sum of the strategy's terms."""
        terms = self.strategy.objective(batch)
        loss = reduce(add, terms.values())
        self.watch.look(terms)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        classifier = self.strategy.network.classifier
        classifier.leave_alone_what_rests(all_compete=batch.task.competing is None)
        self.strategy.after_backward()
        values = checks.finite(terms, self.parameters, batch, self.cost.steps)
        if self.settings.clip_gradient is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip_gradient)
        self.optimizer.step()
        self.strategy.after_step()
        self.watch.after_step()
        return values

    def _after_step(self, task: Task, epoch: int, terms: dict[str, float]) -> None:
        self.cost.steps += 1
        self.means.add(terms)
        self.trackers.advance(task.index, epoch, terms)
        if self.cost.steps % self.settings.log_every == 0:
            self._log_means(task, epoch)
        every = self.settings.evaluate_every
        if isinstance(every, int) and self.cost.steps % every == 0:
            self._evaluate_within(task)
        if self.saver is not None:
            self.saver.after_step(partial(state.take, self))

    def _log_means(self, task: Task, epoch: int) -> None:
        """One line with the mean of each term since the last one."""
        terms = self.means.take()
        if terms:
            where = {"task": task.index, "epoch": epoch, "step": self.cost.steps}
            record = {"event": "step", **where, "loss": sum(terms.values()), "terms": terms}
            self.trackers.log(record)

    def _evaluate_within(self, task: Task) -> None:
        row = self.evaluator.within_task(self.strategy, task)
        where = {"task": task.index, "step": self.cost.steps}
        self.trackers.log({"event": "within_task", **where, self.evaluator.measure: row})

    def _evaluate(self, task: Task) -> None:
        row = self.evaluator.after_task(self.strategy, task)
        measure = self.evaluator.measure
        record = {"event": "evaluation", "task": task.index, "step": self.cost.steps, measure: row}
        if self.evaluator.validation:
            held_out = self.evaluator.validation[-1][: task.index + 1]
            record[f"{measure}_validation"] = held_out
        self.trackers.log(record)
        told = " ".join(number(value, measure) for value in row)
        place = f"{task.index + 1}/{len(self.stream.tasks)}"
        log.info("task %s (%s): %s %s", place, task.name, measure, told)

    def _raise_alarms(self, task: Task) -> None:
        for inert, text in self.watch.alarms(self.name):
            log.warning("%s", text)
            self.alarms.append(text)
            where = {"task": task.index, "term": inert}
            self.trackers.log({"event": "alarm", **where, "message": text})

    def total_steps(self) -> int:
        """Steps of the whole run, for the progress bar."""
        sizes = [self.strategy.training_size(self.stream, task) for task in self.stream.tasks]
        return sum(
            self.phases.epochs(t) * math.ceil(n / self.settings.batch_size)
            for t, n in enumerate(sizes)
        )
