"""The search space: Hydra's syntax for sweeps, read as distributions of optuna."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from cl_runner.config import overrides
from cl_runner.config.command_line import from_python
from cl_runner.config.masking import shown
from cl_runner.config.overrides import is_for_sweeps, key_of
from cl_runner.config.traits import traits
from cl_runner.errors import ConfigError

MOST = overrides.Most(1_000, "values to try", "interval(a,b) is searched without a list")
Params = Mapping[str, Any]
"""The value of each searched key: a number, or text as typed on a command line."""


@dataclass(frozen=True)
class Space:
    """What a search varies, and what it does not."""

    searched: Mapping[str, BaseDistribution]  # of each key, secrets masked
    fixed: Sequence[str]  # the settings of all runs, as typed
    typed: Sequence[str]  # all settings, as typed
    unmasked: Mapping[str, Mapping[str, str]]  # of each key with a list: the value of each mask
    config_dir: Path | None = None  # where the user's own options are

    def point(self, params: Params) -> list[str]:
        """The command line of one run."""
        values = {
            key: self.unmasked.get(key, {}).get(word, word)
            for key, word in self.words(params).items()
        }
        return [*self.fixed, *(f"{key}={value}" for key, value in values.items())]

    def words(self, params: Params) -> dict[str, str]:
        """The searched settings as on a command line: numbers with all digits, secrets masked."""
        values = {key: params[key] for key in self.searched}
        return {k: v if isinstance(v, str) else repr(v) for k, v in values.items()}

    def corners(self) -> Iterator[dict[str, Any]]:
        """A first point, and others that differ from it in one key: the other end of an interval,
        or another value of a list. Checking them finds mistakes before anything is written."""
        values = {key: _ends(distribution) for key, distribution in self.searched.items()}
        first = {key: ends[0] for key, ends in values.items()}
        yield first
        for key, ends in values.items():
            for value in ends[1:]:
                yield {**first, key: value}

    def identity(self) -> list[str]:
        """The settings that tell this search from another, sorted, secrets masked."""
        return sorted(o for o in shown(self.typed) if traits(key_of(o)).changes_results)


def read(words: Sequence[str], config_dir: Path | None = None) -> Space:
    """The space of a command line. Raises ConfigError for what cannot be searched."""
    searched: dict[str, BaseDistribution] = {}
    fixed: dict[str, str] = {}
    unmasked: dict[str, dict[str, str]] = {}
    for typed in words:
        key = key_of(typed)
        of_sweeps = "only applies to a sweep, cl-train -m; a search takes hydra/launcher"
        refused = of_sweeps if is_for_sweeps(key) else traits(key).not_in_search
        if refused:
            own = 'cl_runner.search(..., name="NAME")' if from_python() else "--name"
            hint = f"the search's own is {own}" if key == "name" else ""
            raise ConfigError.of(key, typed.partition("=")[2], refused, hint)
        if key in fixed or any(key == key_of(other) for other in searched):
            raise ConfigError.of("command line", shown([typed])[0], f"gives {key} twice")
        (override,) = overrides.parsed([typed])
        if override.is_sweep_override():
            distribution, element = _distribution(override, typed), override.get_key_element()
            if isinstance(distribution, CategoricalDistribution):
                typed_as = {_masked(element, choice): choice for choice in distribution.choices}
                unmasked[element] = typed_as
                distribution = CategoricalDistribution(sorted(typed_as))
            searched[element] = distribution
        else:
            fixed[key] = typed
    if not searched:
        hint = "such as optimizer.lr=tag(log,interval(1e-4,1e-1)) or optimizer=sgd,adam"
        typed = " ".join(shown(words))
        raise ConfigError.of("command line", typed, "there is nothing to search", hint)
    return Space(searched, list(fixed.values()), list(words), unmasked, config_dir)


def _ends(distribution: BaseDistribution) -> list[Any]:
    """Both ends of numbers, all values of a list."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return [distribution.low, distribution.high]


def _masked(key: str, value: str) -> str:
    """The value; if it is a secret, the word that stands for it."""
    return shown([f"{key}={value}"])[0].partition("=")[2]


def _distribution(override: Override, typed: str) -> BaseDistribution:
    key, text = key_of(typed), typed.partition("=")[2]
    setting = traits(key)
    if not setting.compared:
        allowed = "is not searched: runs that differ in it are averaged, not compared"
        raise ConfigError.of(key, text, allowed, f"one {key} for all runs")
    if not setting.changes_results:
        raise ConfigError.of(key, text, "cannot be searched: it does not change results")
    value = override.value()
    if isinstance(value, IntervalSweep):
        return _interval(value, key, text)
    if getattr(value, "tags", None):
        allowed, hint = "only an interval can have a scale", "tag(log,interval(a,b))"
        raise ConfigError.of(key, text, allowed, hint)
    if isinstance(value, RangeSweep) and all(
        isinstance(number, int) for number in (value.start, value.stop, value.step)
    ):
        numbers = range(int(value.start), int(value.stop), int(value.step))  # type: ignore[arg-type]
        if numbers:
            return IntDistribution(*sorted((numbers[0], numbers[-1])), step=abs(numbers.step))
    try:
        # Sorted, as shuffle(...) changes the order each time.
        choices = sorted(set(overrides.values(override, MOST)))
    except HydraException:  # glob(*)
        raise ConfigError.of(key, text, "cannot be searched", "list the options: a,b,c") from None
    return CategoricalDistribution(choices)


def _interval(value: IntervalSweep, key: str, text: str) -> BaseDistribution:
    low, high = value.start, value.end
    assert low is not None and high is not None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError.of(key, text, "an interval must go from a smaller to a larger number")
    if value.tags - {"log"}:
        raise ConfigError.of(key, text, "the only tag is log", "tag(log,interval(a,b))")
    log = "log" in value.tags
    if log and low <= 0:
        raise ConfigError.of(key, text, "a log scale must start above 0")
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)
