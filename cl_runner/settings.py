"""From YAML nodes to validated objects. Every mistake of a user becomes one line.

A node with `_target_` is a call: its other keys are the keyword-only parameters of the target,
whose annotations are the schema. A target that also has positional parameters, which the run
fills in (a network, the parameters to optimise), becomes a `Part`, to be called later.
"""

from __future__ import annotations

import difflib
import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any, Literal, Protocol, Union, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from cl_runner.checkpoint import Schedule
from cl_runner.errors import MISSING, ConfigError, Problem, first_line
from cl_runner.phases import Phase
from cl_runner.schedules import LrSchedule
from cl_runner.stream import Outline, Scope, Stream
from cl_runner.targets import is_target
from cl_runner.tracking.tracker import Tracker
from cl_runner.types import (
    Folder,
    NonNegative,
    PerTask,
    Positive,
    PositiveInt,
    RunName,
    Seed,
)


class Dataset(Protocol):
    """What a dataset node builds: a stream that is known before its data is read."""

    def outline(self, seed: int) -> Outline: ...

    def load(self, *, seed: int, scope: Scope, device: str) -> Stream: ...


@dataclass(frozen=True)
class Part:
    """A validated call that still waits for what the run gives it."""

    key: str
    target: Callable[..., Any]
    settings: dict[str, Any]

    def __call__(self, *given: Any) -> Any:
        try:
            return self.target(*given, **self.settings)
        except ConfigError as error:
            raise error.under(self.key) from None
        except (RuntimeError, OverflowError) as error:  # sizes that torch cannot make
            path = f"{self.target.__module__}.{self.target.__qualname__}"
            raise ConfigError.of(self.key, path, f"cannot be built: {first_line(error)}") from None

    def conventions(self) -> dict[str, Any]:
        """The settings that choose a formula, not a number: those with named values."""
        hints = get_type_hints(_callable(self.target), include_extras=True)
        chosen = {k: v for k, v in self.settings.items() if hints[k] is bool or _literals(hints[k])}
        return {f"{self.key}.{name}": value for name, value in chosen.items()}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A run, validated. The parts are described in `conf/config.yaml`."""

    dataset: Dataset
    model: Part
    strategy: Part
    optimizer: Part
    tracker: Tracker | None
    seed: Seed
    device: str
    threads: PositiveInt | None
    epochs: PerTask[PositiveInt]
    later_phases: Annotated[list[Phase], Field(min_length=1)] | None
    batch_size: PositiveInt
    lr_schedule: LrSchedule
    min_lr: NonNegative
    clip_gradient: Positive | None
    ce_scope: Scope
    reset_optimizer: bool
    evaluate_every: PositiveInt | Literal["epoch"] | None
    log_every: PositiveInt
    reference: str | None
    checkpoint: Schedule
    first_task_cache: Folder | None
    resume: Folder | None
    output_root: str
    name: RunName
    plan: bool
    trusted_targets: list[str]


def read(config: Mapping[str, Any]) -> Settings:
    """The composed configuration as validated settings.

    config: plain containers, interpolations resolved. Raises ConfigError with every problem.
    """
    node = dict(config)
    if not config.get("tracker"):
        node["tracker"] = None
    trusted = ["cl_runner", *config.get("trusted_targets", [])]
    settings = _build(node, "", trusted)
    assert isinstance(settings, Settings)
    return settings


def check(values: Mapping[str, Any]) -> None:
    """Of settings of a run, `name` for one, before it is known as a whole: raises ConfigError, as
    `read` does."""
    hints = get_type_hints(Settings.__init__, include_extras=True)
    for name, value in values.items():
        _value(value, hints[name], name, trusted=[])


def _build(node: Mapping[str, Any], key: str, trusted: list[str]) -> Any:
    """Call what the node describes, or make it a Part if the run has to add something."""
    target = _find(str(node["_target_"]), _join(key, "_target_"), trusted) if key else Settings
    given = {name: value for name, value in node.items() if name != "_target_"}
    parameters = inspect.signature(target).parameters.values()
    wanted = [p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
    hints = get_type_hints(_callable(target), include_extras=True)
    problems = [_unknown(name, wanted, key, given[name]) for name in given if name not in wanted]
    values: dict[str, Any] = {}
    for name in wanted:
        if name not in given:
            problems.append(Problem(_join(key, name), MISSING, "is missing, give it a value"))
            continue
        try:
            values[name] = _value(given[name], hints[name], _join(key, name), trusted)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(*problems)
    if any(p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for p in parameters):
        return Part(key, target, values)
    return Part(key, target, values)() if key else target(**values)


def _value(value: Any, hint: Any, key: str, trusted: list[str]) -> Any:
    """One setting: a nested call, a list of them, or a plain value of the annotated type."""
    if isinstance(value, Mapping) and "_target_" in value:
        return _build(value, key, trusted)
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        items = [_value(item, Any, f"{key}[{i}]", trusted) for i, item in enumerate(value)]
        if any(isinstance(item, Mapping) or not _is_item(item, hint) for item in items):
            raise ConfigError.of(key, value, f"must be {allowed(hint)}")
        return items
    plain = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)
    try:
        return TypeAdapter(hint, config=plain).validate_python(value)
    except ValidationError:
        raise ConfigError.of(key, value, f"must be {allowed(hint)}") from None


def _is_item(item: Any, hint: Any) -> bool:
    """Whether it may be in a list of this type. What a protocol asks for shows when it is used."""
    if get_origin(hint) is list:
        (wanted,) = get_args(hint)
        return getattr(wanted, "_is_protocol", False) or isinstance(item, wanted)
    return not get_args(hint) or any(_is_item(item, h) for h in get_args(hint) if get_args(h))


def _find(path: str, key: str, trusted: list[str]) -> Callable[..., Any]:
    """The class or function at this dotted path, if its package is trusted and it is declared to be
    a target."""
    package, _, _ = path.partition(".")
    if package not in trusted:
        raise ConfigError.of(
            key,
            path,
            f"only targets of {', '.join(trusted)} are built",
            f"if you trust it, add trusted_targets=[{package}] to the command line",
        )
    module, _, name = path.rpartition(".")
    try:
        target = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError.of(key, path, f"cannot be imported ({error})") from None
    if not (inspect.isclass(target) or inspect.isfunction(target)):
        raise ConfigError.of(key, path, "is neither a class nor a function")
    if target.__module__.partition(".")[0] not in trusted:  # imported there from elsewhere
        raise ConfigError.of(key, path, f"is of {target.__module__}, which is not trusted")
    if not is_target(target):
        hint = "if it is yours, put @target above it (from cl_runner.targets import target)"
        raise ConfigError.of(key, path, "is not declared to be a target", hint)
    return target


def allowed(hint: Any) -> str:
    """A type annotation in plain words: `a number ≥ 0`, `one of all, seen, new`."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        told = [extra.description for extra in arguments[1:] if isinstance(extra, FieldInfo)]
        if any(told):
            return f"{allowed(arguments[0])} {told[-1]}"
        limits = [_limit(m) for extra in arguments[1:] for m in _metadata(extra)]
        return f"{allowed(arguments[0])} {' and '.join(filter(None, limits))}".rstrip()
    if origin in (Union, types.UnionType):
        return " or ".join(allowed(argument) for argument in arguments)
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin is list:
        return f"a list, each {allowed(arguments[0])}"
    names = {float: "a number", int: "an integer", bool: "true or false", str: "a text"}
    return names.get(hint, "null" if hint is type(None) else "a node with a _target_")


def _metadata(extra: Any) -> list[Any]:
    return list(extra.metadata) if isinstance(extra, FieldInfo) else [extra]


def _limit(constraint: Any) -> str:
    words = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    for attribute, word in words.items():
        limit = getattr(constraint, attribute, None)
        if limit is not None:
            return f"{word} {limit}"
    return ""


def _unknown(name: str, wanted: list[str], key: str, value: Any) -> Problem:
    return Problem(_join(key, name), value, f"no such setting{_below(key)}", nearest(name, wanted))


def nearest(name: str, names: list[str]) -> str:
    """A hint that names the known key nearest to a mistyped one, or all beside it."""
    group, _, last = name.rpartition(".")
    beside = {known.rpartition(".")[2]: known for known in names if known.startswith(group)}
    if not names:
        return "there are none here"
    close = difflib.get_close_matches(last, beside, n=1, cutoff=0.5)
    if close:
        return f"did you mean {beside[close[0]]}?"
    there = [known for known in names if known.rpartition(".")[0] == group] or names
    return f"known are {', '.join(sorted(there))}"


def _below(key: str) -> str:
    return f" of {key}" if key else ""


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _callable(target: Callable[..., Any]) -> Callable[..., Any]:
    return target.__init__ if inspect.isclass(target) else target


def _literals(hint: Any) -> bool:
    return get_origin(hint) is Literal or any(get_origin(a) is Literal for a in get_args(hint))
