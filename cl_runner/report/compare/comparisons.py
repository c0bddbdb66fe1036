"""Which comparisons are asked, and what each gives: differences seed by seed, corrected."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from cl_runner.config.command_line import flag
from cl_runner.errors import ConfigError, nearest
from cl_runner.metrics import Metric
from cl_runner.report.compare.groups import Group, Section, ranked
from cl_runner.report.compare.significance import (
    LEVEL,
    TTest,
    half_width,
    holm,
    p_of_signs,
    t_test,
)
from cl_runner.report.compare.varying import by_strategy

FINE_TUNING = "finetune"


@dataclass(frozen=True)
class Asked:
    """What a reader wants to know. Names are those of strategies or of rows of the ranking."""

    baseline: str | None = None  # every strategy against this one
    method: str | None = None  # this one against every other, or only against the baseline
    margin: float | None = None  # smaller differences do not matter: points, or percent of an error

    def check(self, sections: Sequence[Section]) -> None:
        """Raise ConfigError if a name is in no section or means several settings of one."""
        if self.margin is not None and not 0 < self.margin < math.inf:
            raise ConfigError.of(flag("margin"), self.margin, "must be a number above 0")
        for key, name in (("baseline", self.baseline), ("method", self.method)):
            if name is not None:
                found = [_named(section, name) for section in sections]
                _check(flag(key), name, found, sections, each_its_own=key == "baseline")
        for section in sections:
            both = _named(section, self.method), _named(section, self.baseline)
            if both[0] and both[0][0] in both[1]:
                raise ConfigError.of(flag("method"), self.method, "is the baseline")


def _check(
    key: str,
    name: str,
    found: list[list[Group]],
    sections: Sequence[Section],
    each_its_own: bool,
) -> None:
    """each_its_own: several settings are one name if each was trained under other conditions."""
    if not any(found):
        measured = [group for section in sections for group in section.measured]
        names = {group.label if "," in name else group.strategy for group in measured}
        allowed = "must be a strategy or a row of the ranking, with a complete run"
        raise ConfigError.of(key, name, allowed, nearest(name, sorted(names)))
    for groups in found:
        if len(groups) > 1 and not (each_its_own and _differ(groups)):
            one = groups[0].label
            raise ConfigError.of(key, name, f"are {len(groups)} settings", f"name one, as '{one}'")


def _named(section: Section, name: str | None) -> list[Group]:
    """The row with this label; else the candidates of this strategy."""
    labelled = [group for group in section.measured if group.label == name]
    return labelled or [group for group in candidates(section) if group.strategy == name]


def _differ(groups: Sequence[Group]) -> bool:
    """Whether no two of them were trained under the same conditions."""
    return all(one.conditions != other.conditions for one, other in combinations(groups, 2))


def candidates(section: Section) -> list[Group]:
    """Each strategy with the setting that was chosen on validation data; all its settings, if there
    is no such data or only one strategy. The best mean first."""
    strategies = by_strategy(section)
    if len(strategies) == 1:
        return section.best_first(section.measured)
    found = []
    for groups in strategies.values():
        chosen = section.chosen(groups)
        found += groups if chosen is None else [chosen]
    return section.best_first(found)


@dataclass(frozen=True)
class Comparison:
    """`group` minus `reference` over the `n` seeds that both have; of errors, the logarithm of
    their ratio. What needs a test is None where there is none (see `t_test`).

    low, high: an interval of at least 95 % that excludes 0 exactly where p is below 0.05.
    effect: mean over standard deviation. p: Student's, after Holm's correction.
    """

    group: Group
    reference: Group
    n: int
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    effect: float | None = None
    p: float | None = None
    p_of_signs: float | None = None
    equal: bool = False  # with every seed

    def turned(self) -> Comparison:
        """The same from the reference's side."""
        mean, low, high, effect = (
            None if value is None else -value
            for value in (self.mean, self.high, self.low, self.effect)
        )
        turned = replace(self, mean=mean, low=low, high=high, effect=effect)
        return replace(turned, group=self.reference, reference=self.group)

    @property
    def significant(self) -> bool:
        return self.p is not None and self.p < LEVEL

    def within(self, reach: float) -> bool:
        """Whether the interval lies between -reach and reach."""
        return self.low is not None and self.high is not None and max(-self.low, self.high) < reach


@dataclass(frozen=True)
class Comparisons:
    """The comparisons of a section, in the order of the ranked groups."""

    ranked: list[Group]  # the best mean first
    bounds: list[Group]  # upper bounds
    references: list[Group]  # several, if each is for the groups trained under its conditions
    unpaired: list[Group]  # no reference was trained under their conditions
    made: list[Comparison]
    family: int  # for how many the correction is
    about_reference: bool  # what it is ahead of is asked, not what is ahead of it
    picked: bool  # the reference is the best by these same results


def compare(section: Section, asked: Asked) -> Comparisons:
    """The method against all others, or all against the baseline; without either, all against
    fine-tuning. If a baseline was trained under several conditions, such as with two models, each
    group is compared with the one of its own. Without fine-tuning against the best, corrected for
    all pairs: any could have been the best."""
    method, baseline = (_named(section, name) for name in (asked.method, asked.baseline))
    known = {id(group): group for group in [*candidates(section), *method, *baseline]}
    every = section.best_first(known.values())
    places = ranked(every)
    fine_tuning = [group for group in places if group.strategy == FINE_TUNING]
    given = baseline or method or (fine_tuning if _useful(fine_tuning, places) else [])
    references = given or places[:1]
    others = method if method and baseline else [g for g in places if g not in references]
    pairs = [(group, one) for group in others for one in _of_its_own(group, references)]
    family = [*pairs, *(() if given else combinations(others, 2))]
    paired = {id(group) for group, _ in pairs}
    by_seed = [differences(section.metric, *pair) for pair in family]
    tests = [t_test(each, section.step) for each in by_seed]
    corrected = holm([float(test.p) for test in tests])
    made = [
        _comparison(section, pair, *found)
        for pair, *found in zip(
            pairs, by_seed, tests, corrected.p, corrected.confidence, strict=False
        )
    ]
    return Comparisons(
        ranked=places,
        bounds=[group for group in every if group not in places],
        references=references,
        unpaired=[group for group in others if id(group) not in paired],
        made=made,
        family=sum(not math.isnan(test.p) for test in tests),
        about_reference=bool(method and not baseline),
        picked=not given,
    )


def _useful(fine_tuning: Sequence[Group], places: Sequence[Group]) -> bool:
    """Whether each has conditions of its own, and some other group was trained under them."""
    others = [group for group in places if group not in fine_tuning]
    return _differ(fine_tuning) and (
        len(fine_tuning) == 1 or any(_of_its_own(group, fine_tuning) for group in others)
    )


def _of_its_own(group: Group, references: Sequence[Group]) -> list[Group]:
    """The only reference; of several, the one trained under the group's conditions, if any."""
    if len(references) == 1:
        return list(references)
    return [one for one in references if one.conditions == group.conditions]


def _comparison(
    section: Section,
    pair: tuple[Group, Group],
    by_seed: list[float],
    test: TTest,
    p: float,
    confidence: float,
) -> Comparison:
    n, mean = len(by_seed), float(test.mean)
    if math.isnan(p):
        return Comparison(*pair, n, mean if n else None)
    unit = section.metric.unit
    most = math.inf if unit.logarithmic else unit.highest - unit.lowest
    half = half_width(float(test.error), n, confidence)
    return Comparison(
        *pair,
        n,
        mean,
        low=max(mean - half, -most),
        high=min(mean + half, most),
        effect=mean / (float(test.error) * math.sqrt(n)) if test.error > 0 else None,
        p=float(p),
        p_of_signs=p_of_signs(by_seed),
        equal=not any(by_seed),
    )


def differences(metric: Metric, group: Group, reference: Group) -> list[float]:
    """Seed by seed. An error of exactly 0 has no logarithm, and its seed is left out."""
    first, second = group.by_seed(metric), reference.by_seed(metric)
    pairs = [(first[seed], second[seed]) for seed in first if seed in second]
    if metric.unit.logarithmic:
        return [math.log(a / b) for a, b in pairs if a > 0 and b > 0]
    return [a - b for a, b in pairs]
