"""The training loop: for each task train, consolidate, evaluate, log, save."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import reduce
from itertools import islice
from operator import add
from typing import Any

import torch
from torch import Tensor

from cl_runner.data.batches import Batch, batches, in_turns, joined
from cl_runner.data.samples import Samples
from cl_runner.data.stream import Stream, Task
from cl_runner.errors import CheckpointError
from cl_runner.evaluation.choice import evaluator_of
from cl_runner.evaluation.probe import Probe
from cl_runner.randomness import global_states, seed_globally, set_global_states
from cl_runner.run_folder.checkpoint import State
from cl_runner.strategies.strategy import Strategy
from cl_runner.tracking.tracker import Trackers
from cl_runner.training import checks, class_means, environment
from cl_runner.training.alarm import Watch
from cl_runner.training.cost import Cost
from cl_runner.training.early_stopping import EarlyStopping
from cl_runner.training.journal import Journal
from cl_runner.training.optimizers import clip_gradient
from cl_runner.training.phases import Phases
from cl_runner.training.saver import Saver
from cl_runner.training.schedulers import Place
from cl_runner.training.settings import Settings
from cl_runner.training.state import PARTS, Position, check_fits


class Training:
    """A run in progress: the strategy, its optimizer, and the measurements so far."""

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
        self.trackers, self.saver = trackers, saver
        self.parameters = [p for p in strategy.parameters() if p.requires_grad]
        self.position = Position(0)
        self.phases = Phases(settings, strategy.network, self.parameters)
        self.optimizer = self.phases.fresh_optimizer(0)
        self.watch = Watch(stream.tasks[0], self.parameters)
        self.evaluator = evaluator_of(stream, settings.keep)
        self.probe = Probe(settings.diagnose, stream)
        self.early_stopping = EarlyStopping(settings.early_stopping, strategy, self.evaluator)
        self.cost = Cost(strategy)
        self.journal = Journal(name, trackers, strategy, self.evaluator, self.cost)
        self.means, self.logged = self.journal.means, self.journal.logged
        self.first_task: Callable[[Training], None] | None = None

    def to_the_end(self) -> None:
        """Learn all tasks from the current position on."""
        self.cost.start_clock()
        for task in self.stream.tasks[self.position.task :]:
            self.learn(task)

    def learn(self, task: Task) -> None:
        """Train on one task, consolidate, evaluate all tasks so far."""
        if begins := self.position == Position(task.index):
            self._begin(task)
        if begins and task.first and self.first_task is not None:
            self.first_task(self)
        else:
            self.train(task)
        self.strategy.end_task(task)
        class_means.measure(self.strategy, self.stream, task)
        self.journal.end_task(task, self.watch)
        self.probe.after_task(self.strategy, task)
        self.position = Position(task.index + 1)
        if self.saver is not None:
            self.saver.save(self.state)

    def _begin(self, task: Task) -> None:
        seed_globally(self.device, task.seed, task.index, "torch's own generator")
        self.strategy.network.grow(task)
        self.evaluator.before_task(self.strategy, task)
        class_means.outdate(self.strategy.network)
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
        """Do all remaining steps of one task."""
        self.strategy.train()
        data = self.strategy.training_data(self.stream, task)
        per_epoch = self._steps_per_epoch(task, len(data))
        if per_epoch == 0:
            return
        steps = self.phases.steps(task.index, per_epoch)
        start = self.position
        for epoch in range(start.epoch, math.ceil(steps / per_epoch)):
            first = start.step if epoch == start.epoch else 0
            if first == 0 and self.phases.begins(task.index, epoch):
                self.optimizer = self.phases.fresh_optimizer(task.index, epoch)
            self.phases.enter_epoch(task.index, epoch)
            before = epoch * per_epoch
            parts = self._batches(data, task, epoch, first)
            for step in range(first, min(per_epoch, steps - before)):
                self.phases.enter_step(self.optimizer, Place(before + step, steps, per_epoch))
                terms = self._step(next(parts))
                self.position = Position(task.index, epoch, step + 1)
                self._after_step(task, epoch, terms)
            if self.settings.evaluate_every == "epoch":
                self.journal.evaluate_within(task)
            if self.early_stopping.after_epoch(task):
                break
        self.early_stopping.end_task(task)
        self.phases.leave_task()
        self.journal.log_means(task, epoch, self._rates())

    def _batches(self, data: Samples, task: Task, epoch: int, first: int) -> Iterator[list[Batch]]:
        """The batches of each step of an epoch, from this step on."""
        each, size = self.settings.accumulate, self.settings.batch_size
        whole, begun = divmod(first, turns := self.strategy.turns(task))
        one = batches(data, task, epoch=epoch, batch_size=size, first_step=whole * each)
        while parts := list(islice(one, each)):
            yield from islice(in_turns(parts, turns), begun, None)
            begun = 0

    def _steps_per_epoch(self, task: Task, samples: int) -> int:
        return self.phases.steps_per_epoch(samples) * self.strategy.turns(task)

    def _step(self, parts: Sequence[Batch]) -> dict[str, float]:
        """One step down the gradient of the sum of the strategy's terms, averaged over the samples
        of these batches. Returns the terms."""
        for parameter in self.parameters:  # the optimizer's own way costs more than its step
            parameter.grad = None
        batch = joined(parts)
        terms: dict[str, Tensor] = {}
        for part in parts:
            for name, term in self._backward(part, len(part.y) / len(batch.y)).items():
                terms[name] = terms[name] + term if name in terms else term
        classifier = self.strategy.network.classifier
        classifier.leave_alone_what_rests(all_compete=batch.task.competing is None)
        self.strategy.after_backward(batch)
        values = checks.finite(terms, self.parameters, batch, self.cost.steps)
        if self.settings.clip_gradient is not None:
            clip_gradient(self.parameters, self.settings.clip_gradient)
        self.optimizer.step()
        self.strategy.after_step(batch)
        self.watch.after_step()
        return values

    def _backward(self, batch: Batch, share: float) -> dict[str, Tensor]:
        """Add the gradient of this share of the terms on one batch. Returns the terms."""
        terms = self.strategy.objective(batch)
        if self.watch.steps == 0:  # once a task: it would cost time in each step
            checks.check_terms(self.strategy, terms)
        if share < 1:
            terms = {name: share * term for name, term in terms.items()}
        self.watch.look(terms)
        reduce(add, terms.values()).backward()
        return {name: term.detach() for name, term in terms.items()}

    def _after_step(self, task: Task, epoch: int, terms: dict[str, float]) -> None:
        self.cost.steps += 1
        self.journal.after_step(task, epoch, terms)
        if self.cost.steps % self.settings.log_every == 0:
            self.journal.log_means(task, epoch, self._rates())
        every = self.settings.evaluate_every
        if isinstance(every, int) and self.cost.steps % every == 0:
            self.journal.evaluate_within(task)
        if self.saver is not None:
            self.saver.after_step(self.state)

    def _rates(self) -> tuple[float | None, float | None]:
        return self.phases.changed_rates(self.optimizer)

    def total_steps(self) -> int:
        """The number of steps in the whole run."""
        sizes = [self.strategy.training_size(self.stream, task) for task in self.stream.tasks]
        per_epoch = map(self._steps_per_epoch, self.stream.tasks, sizes)
        return sum(self.phases.steps(t, steps) for t, steps in enumerate(per_epoch))

    @property
    def device(self) -> str:
        return str(self.parameters[0].device)

    @property
    def environment(self) -> dict[str, Any]:
        """What else the last bits of the results depend on."""
        return environment.describe(self.device)

    def state(self) -> State:
        """Everything that the rest of the run depends on, between two steps or two tasks."""
        return {
            "position": asdict(self.position),
            **{part: getattr(self, part).state_dict() for part in PARTS},
            "alarms": list(self.journal.alarms),
            "generators": global_states(self.device),
            "environment": self.environment,
            "data_sha256": self.stream.sha256,
        }

    def put_back(self, state: State) -> None:
        """Continue from this state. Raises CheckpointError if it does not belong to such a run;
        nothing outside this object has been changed then."""
        try:
            check_fits(state, self.strategy, self.optimizer)
            if state.get("data_sha256", self.stream.sha256) != self.stream.sha256:
                raise ValueError("its data set had other samples, labels or splits then")
            if self.settings.threads is None:
                torch.set_num_threads(state["environment"]["threads"])
            self.position = Position(**state["position"])
            if self.position.task < len(self.stream.tasks):
                self.watch = Watch(self.stream.tasks[self.position.task], self.parameters)
            for part in PARTS:
                getattr(self, part).load_state_dict(state[part])
            self.journal.alarms = list(state["alarms"])
            set_global_states(state["generators"], self.device)
        except Exception as error:  # nobody can list what torch raises on a state it did not write
            reason = " ".join(str(error).splitlines()[:3])[:200]
            raise CheckpointError(f"checkpoint error: it does not fit this run: {reason}") from None
