"""Settings that are each valid and cannot be meant together: refused before anything is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cl_runner.annotations import one_a_task
from cl_runner.errors import ConfigError
from cl_runner.parts import Part, hints_of
from cl_runner.stream import Outline
from cl_runner.types import at_most_one_a_task

if TYPE_CHECKING:
    from cl_runner.settings import Settings


def refuse(settings: Settings) -> None:
    """Raise ConfigError for the first."""
    outline = settings.dataset.outline(settings.seed)
    if not isinstance(outline, Outline):
        allowed = f"its outline() gives a {type(outline).__name__}, must be an Outline"
        raise ConfigError.of("dataset", type(settings.dataset).__name__, allowed)
    tasks = len(outline.labels)
    _values_without_a_task("", hints_of(type(settings), ""), vars(settings), tasks)
    for part in vars(settings).values():
        if isinstance(part, Part):
            hints = hints_of(part.target, part.key)
            _values_without_a_task(f"{part.key}.", hints, part.settings, tasks)
    _min_lr_above_lr(settings)
    _epochs_beside_phases(settings)


def _values_without_a_task(
    prefix: str, hints: Mapping[str, Any], values: Mapping[str, Any], tasks: int
) -> None:
    for name, value in values.items():
        if one_a_task(hints.get(name)):
            at_most_one_a_task(f"{prefix}{name}", value, tasks)


def _min_lr_above_lr(settings: Settings) -> None:
    lr = settings.optimizer.settings.get("lr")
    rates = lr if isinstance(lr, list) else [lr]
    lowest = min((rate for rate in rates if isinstance(rate, float)), default=settings.min_lr)
    if settings.min_lr > lowest:
        allowed = f"is where the learning rate falls to, and optimizer.lr begins with {lowest:g}"
        raise ConfigError.of("min_lr", settings.min_lr, allowed)


def _epochs_beside_phases(settings: Settings) -> None:
    epochs = settings.epochs
    if settings.later_phases is not None and isinstance(epochs, list) and len(epochs) > 1:
        allowed = "later_phases says how long later tasks are trained, so it has one value"
        hint = f"epochs={epochs[0]}, or later_phases=null"
        raise ConfigError.of("epochs", epochs, allowed, hint)
