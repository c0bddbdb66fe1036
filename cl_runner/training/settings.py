"""The settings of a run, validated one by one and together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Annotated, Any, Literal, Protocol

import torch

from cl_runner.config.build import settings_of
from cl_runner.config.factory import Factory
from cl_runner.config.setting_types import (
    LATER,
    NO_RESULT,
    PLACE,
    Device,
    Folder,
    NonEmpty,
    NonNegative,
    PerTask,
    Positive,
    PositiveInt,
    RunName,
    Seed,
    Threads,
    Traits,
    at_most_one_a_task,
)
from cl_runner.config.targets import target
from cl_runner.config.traits import traits_of
from cl_runner.data import mixing
from cl_runner.data.likelihood import Categorical
from cl_runner.data.stream import Outline, Scope, Stream
from cl_runner.errors import MISSING, ConfigError
from cl_runner.evaluation.evaluator import Keep
from cl_runner.evaluation.probe import Diagnose
from cl_runner.models.network import MemoryFormat, Network, Precision
from cl_runner.plugins import trusted as plugins
from cl_runner.strategies.strategy import Strategy
from cl_runner.tracking.tracker import Tracker
from cl_runner.training.schedulers import Scheduler, lowest


@target
@dataclass(frozen=True, kw_only=True)
class Phase:
    """A part of a task's training. The first begins as `reset_optimizer` says, each other one with
    a new optimizer.

    With `layers=head`, no weight of the layers before the head changes. They still are in training
    mode: dropout acts, and BatchNorm normalises by the batch and moves its running statistics,
    unless `model.freeze_statistics` holds them.
    """

    epochs: PositiveInt
    layers: Literal["all", "head"]  # head: the classifier and an inserted layer
    weight_decay: NonNegative | None  # None: the optimizer's own


@target
@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How often to save within a task, whichever comes first. A task's end is always saved."""

    every_n_steps: PositiveInt | None
    every_n_minutes: Positive | None

    def due(self, steps: int, seconds: float) -> bool:
        """Whether to save now, this many steps and seconds after the last time."""
        return steps >= (self.every_n_steps or inf) or seconds >= 60 * (self.every_n_minutes or inf)


class Dataset(Protocol):
    """What a dataset node builds: a stream whose outline is known before its data is read."""

    def outline(self, seed: int) -> Outline: ...

    def load(self, *, seed: int, scope: Scope, device: str) -> Stream: ...


ONE_CALL = NO_RESULT | Traits(of_one_call=True)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The validated settings of a run; `conf/config.yaml` describes them."""

    dataset: Annotated[Dataset, Traits(takes_time=True)]
    model: Annotated[Factory[Network], Traits(takes_time=True)]
    strategy: Factory[Strategy]
    optimizer: Factory[torch.optim.Optimizer]
    scheduler: Scheduler
    tracker: Annotated[Tracker | None, NO_RESULT]
    trackers: Annotated[list[Tracker], NO_RESULT | PLACE]
    seed: Annotated[Seed, Traits(compared=False)]
    device: Device
    threads: Threads | None
    epochs: Annotated[PerTask[PositiveInt] | None, Traits(takes_time=True)]
    steps: Annotated[PerTask[PositiveInt] | None, Traits(takes_time=True)]
    first_phases: Annotated[NonEmpty[Phase] | None, Traits(takes_time=True)]
    later_phases: Annotated[NonEmpty[Phase] | None, LATER | Traits(takes_time=True)]
    batch_size: Annotated[PositiveInt, Traits(takes_time=True)]
    drop_last: bool
    accumulate: Annotated[PositiveInt, Traits(takes_time=True)]
    early_stopping: Annotated[PositiveInt | None, Traits(takes_time=True)]
    precision: Annotated[Precision, Traits(takes_time=True)]
    memory_format: Annotated[MemoryFormat, Traits(takes_time=True)]
    clip_gradient: Positive | None
    ce_scope: Scope
    one_output_layer: bool
    reset_optimizer: bool
    evaluate_every: Annotated[PositiveInt | Literal["epoch"] | None, Traits(takes_time=True)]
    diagnose: Annotated[Diagnose | None, LATER | Traits(compared=False, takes_time=True)]
    keep: Annotated[Keep, LATER | Traits(compared=False)]
    log_every: PositiveInt
    reference: Annotated[str | None, PLACE | LATER | Traits(compared=False)]
    checkpoint: Annotated[Schedule, NO_RESULT]
    first_task_cache: Annotated[Folder | None, NO_RESULT]
    resume: Annotated[
        Folder | None,
        ONE_CALL
        | Traits(
            not_in_search="continues a single run; to continue a search, run its command again"
        ),
    ]
    output_root: Annotated[Folder, ONE_CALL]
    name: Annotated[RunName, ONE_CALL | Traits(not_in_search="names one run")]
    plan: Annotated[bool, ONE_CALL | Traits(not_in_search="only applies to a sweep, cl-train -m")]
    trusted_targets: Annotated[list[str], ONE_CALL]


def read(config: Mapping[str, Any]) -> Settings:
    """The composed configuration as validated settings.

    config: plain containers, interpolations resolved. Raises ConfigError with every problem.
    """
    node = dict(config)
    if node.get("tracker") == {}:
        node["tracker"] = None
    given = node.get("trusted_targets")
    named = map(str, given if isinstance(given, list) else [])
    trusted = ("cl_runner", *plugins.packages(), *named)
    settings = Settings(**settings_of(Settings, node, "", trusted))
    _refuse_contradictions(settings)
    return settings


def check(values: Mapping[str, Any]) -> None:
    """Raise ConfigError, as `read` does, for some settings of a run; the others may be missing."""
    try:
        settings_of(Settings, values, "", ())
    except ConfigError as error:
        wrong = [problem for problem in error.problems if problem.value is not MISSING]
        if wrong:
            raise ConfigError(*wrong) from None


def _refuse_contradictions(settings: Settings) -> None:
    """Raise ConfigError for the first settings that are valid on their own but not together."""
    outline = settings.dataset.outline(settings.seed)
    if not isinstance(outline, Outline):
        allowed = f"its outline() gives a {type(outline).__name__}, must be an Outline"
        raise ConfigError.of("dataset", type(settings.dataset).__name__, allowed)
    mixing.check(outline, settings.ce_scope)
    tasks = len(outline.labels)
    _values_without_a_task("", Settings, vars(settings), tasks)
    for part in vars(settings).values():
        if isinstance(part, Factory):
            _values_without_a_task(f"{part.key}.", part.target, part.settings, tasks)
    _min_lr_above_lr(settings)
    _one_budget(settings)
    _early_stopping_without(settings, outline)
    _diagnose_without(settings, outline)
    if settings.keep == "logits" and not isinstance(outline.likelihood, Categorical):
        allowed = "keeps the scores of classes, and regression has none; it keeps the fits anyway"
        raise ConfigError.of("keep", "logits", allowed, "keep=predictions")


def _values_without_a_task(
    prefix: str, target: Callable[..., Any], values: Mapping[str, Any], tasks: int
) -> None:
    about = traits_of(target)
    for name, value in values.items():
        if about.get(name, Traits()).per_task:
            at_most_one_a_task(f"{prefix}{name}", value, tasks)


def _min_lr_above_lr(settings: Settings) -> None:
    key, min_lr = lowest(settings.scheduler, "scheduler")
    for name in ("lr", "head_lr"):
        lr = settings.optimizer.settings.get(name)
        rates = [rate for rate in (lr if isinstance(lr, list) else [lr]) if isinstance(rate, float)]
        if min_lr > min(rates, default=min_lr):
            least = f"optimizer.{name} starts at {min(rates):g}"
            raise ConfigError.of(key, min_lr, f"must not be above the learning rate, and {least}")


def _one_budget(settings: Settings) -> None:
    epochs, steps = settings.epochs, settings.steps
    if epochs is None and steps is None:
        allowed = "and steps=null leave a task without an end"
        raise ConfigError.of("epochs", None, allowed, "epochs=10, or steps=1000")
    if epochs is not None and steps is not None:
        allowed = f"cannot be given beside epochs={epochs}"
        raise ConfigError.of("steps", steps, allowed, "epochs=null, or steps=null")
    key, budget = ("epochs", epochs) if steps is None else ("steps", steps)
    if settings.later_phases is not None and isinstance(budget, list) and len(budget) > 1:
        allowed = "must be one value, as later_phases sets the epochs of later tasks"
        raise ConfigError.of(key, budget, allowed, f"{key}={budget[0]}, or later_phases=null")


def _early_stopping_without(settings: Settings, outline: Outline) -> None:
    if settings.early_stopping is None:
        return
    if not outline.validation_fraction > 0:
        allowed, hint = "needs held-out samples", "dataset.validation_fraction=0.1"
        raise ConfigError.of("early_stopping", settings.early_stopping, allowed, hint)
    for name in ("first_phases", "later_phases"):
        if getattr(settings, name) is not None:
            allowed = f"ends tasks, and {name} says how long each phase takes"
            hint = f"early_stopping=null, or {name}=null"
            raise ConfigError.of("early_stopping", settings.early_stopping, allowed, hint)


def _diagnose_without(settings: Settings, outline: Outline) -> None:
    if settings.diagnose is None:
        return
    if not isinstance(outline.likelihood, Categorical):
        allowed = "asks which classes are told apart, and regression has no classes"
        raise ConfigError.of("diagnose", settings.diagnose, allowed, "diagnose=null")
    if not outline.validation_fraction > 0:
        allowed, hint = "needs held-out samples", "dataset.validation_fraction=0.1"
        raise ConfigError.of("diagnose", settings.diagnose, allowed, hint)
