"""What is searched: Hydra's own words for sweeps, read as optuna's distributions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
from cl_runner.config.masking import shown
from cl_runner.config.overrides import is_for_sweeps, key_of
from cl_runner.config.traits import traits
from cl_runner.errors import ConfigError

MOST = overrides.Most(1_000, "values to try", "interval(a,b) is searched without a list")
Params = Mapping[str, Any]
"""The value of each searched key: a number, or a word of Hydra's grammar."""


@dataclass(frozen=True)
class Space:
    """searched: the distribution of each key; fixed: the words of all runs."""

    searched: Mapping[str, BaseDistribution]
    fixed: Sequence[str]
    typed: Sequence[str]  # all words, as they were typed
    meant: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Of searched secrets what is typed: in `searched` are the words that stand for them."""

    def point(self, params: Params) -> list[str]:
        """The command line of one run."""
        meant = {key: self.meant.get(key, {}).get(params[key]) for key in self.searched}
        words = {key: meant[key] or word(params[key]) for key in self.searched}
        return [*self.fixed, *(f"{key}={said}" for key, said in words.items())]

    def corners(self) -> Iterator[dict[str, Any]]:
        """A first point, and from there each end of an interval and each value of a list: what
        cannot be composed there is found before anything is written."""
        first = {key: ends(found)[0] for key, found in self.searched.items()}
        yield first
        for key, found in self.searched.items():
            for value in ends(found)[1:]:
                yield {**first, key: value}

    def identity(self) -> list[str]:
        """The words that make it this search and no other, whatever their order; of secrets those
        that stand for them."""
        told = zip(self.typed, shown(self.typed), strict=True)
        return sorted(said for typed, said in told if traits(key_of(typed)).changes_results)


def read(words: Sequence[str]) -> Space:
    """The space of a command line. Raises ConfigError for what cannot be searched."""
    searched: dict[str, BaseDistribution] = {}
    fixed: dict[str, str] = {}
    meant: dict[str, dict[str, str]] = {}
    for typed in words:
        key = key_of(typed)
        launching = "only applies to a sweep, cl-train -m; a search has --jobs"
        refused = launching if is_for_sweeps(key) else traits(key).not_in_search
        if refused:
            raise ConfigError.of(key, typed.partition("=")[2], refused)
        if key in fixed or any(key == key_of(other) for other in searched):
            told = shown([typed])[0]
            raise ConfigError.of("command line", told, f"gives {key} twice")
        (override,) = overrides.parsed([typed])
        if override.is_sweep_override():
            found, element = _distribution(override, typed), override.get_key_element()
            if isinstance(found, CategoricalDistribution):
                meant[element] = _meant(element, found.choices)
                found = CategoricalDistribution(sorted(meant[element]))
            searched[element] = found
        else:
            fixed[key] = typed
    if not searched:
        hint = "such as optimizer.lr=tag(log,interval(1e-4,1e-1)) or optimizer=sgd,adam"
        told = " ".join(shown(words))
        raise ConfigError.of("command line", told, "there is nothing to search", hint)
    return Space(searched, list(fixed.values()), list(words), meant)


def ends(distribution: BaseDistribution) -> list[Any]:
    """Both ends of numbers, all values of a list."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return [distribution.low, distribution.high]


def word(value: Any) -> str:
    """A value as it stands on a command line; a number with all its digits."""
    return value if isinstance(value, str) else repr(value)


def _meant(key: str, choices: Sequence[Any]) -> dict[str, str]:
    """What is typed for each word that is shown; both are the same but of secrets."""
    typed = [f"{key}={choice}" for choice in choices]
    told = [said.partition("=")[2] for word in typed for said in shown([word])]
    return dict(zip(told, choices, strict=True))


def _distribution(override: Override, typed: str) -> BaseDistribution:
    key, said = key_of(typed), typed.partition("=")[2]
    about = traits(key)
    if not about.compared:
        allowed = "is not searched: runs that differ in it are averaged, not compared"
        raise ConfigError.of(key, said, allowed, f"one {key} for all runs")
    if not about.changes_results:
        raise ConfigError.of(key, said, "cannot be searched: it does not change results")
    value = override.value()
    if isinstance(value, IntervalSweep):
        return _interval(value, key, said)
    if getattr(value, "tags", None):
        raise ConfigError.of(
            key, said, "only an interval can have a scale", "tag(log,interval(a,b))"
        )
    if isinstance(value, RangeSweep) and all(
        isinstance(number, int) for number in (value.start, value.stop, value.step)
    ):
        numbers = range(int(value.start), int(value.stop), int(value.step))  # type: ignore[arg-type]
        if numbers:
            return IntDistribution(*sorted((numbers[0], numbers[-1])), step=abs(numbers.step))
    try:
        # sorted: shuffle(...) lists the same values in another order each time.
        choices = sorted(set(overrides.values(override, MOST)))
    except HydraException:  # glob(*): the names are those of files
        raise ConfigError.of(key, said, "cannot be searched", "list the options: a,b,c") from None
    return CategoricalDistribution(choices)


def _interval(value: IntervalSweep, key: str, said: str) -> BaseDistribution:
    low, high = value.start, value.end
    assert low is not None and high is not None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError.of(key, said, "an interval must go from a smaller to a larger number")
    if value.tags - {"log"}:
        raise ConfigError.of(key, said, "the only tag is log", "tag(log,interval(a,b))")
    log = "log" in value.tags
    if log and low <= 0:
        raise ConfigError.of(key, said, "a log scale must start above 0")
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)
