"""Which strategy, or which setting of one, is ahead, and what can be concluded from that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cl_runner.metrics import Metric
from cl_runner.report.compare.groups import Group, Section
from cl_runner.report.compare.significance import (
    EXACT_UP_TO,
    LEVEL,
    Paired,
    Spread,
    holm,
    paired,
    seeds_needed,
    smallest_p,
)
from cl_runner.report.compare.varying import by_strategy
from cl_runner.text import counted


@dataclass(frozen=True)
class Place:
    """A group, and its difference to the first; `behind` and `p` are None for the first itself."""

    group: Group
    behind: Paired | None = None
    p: float | None = None  # after Holm's correction


@dataclass(frozen=True)
class Ranking:
    """Places in order of the section's metric, and conclusions in sentences."""

    places: list[Place]
    sentences: list[str]


def rank(section: Section) -> Ranking:
    """Each strategy with the setting that was chosen on validation data. All its settings, if there
    is no such data or only one strategy. Each one is tested against the first."""
    groups = section.best_first(_candidates(section))
    if not groups:
        return Ranking([], ["No run is complete: there is nothing to conclude."])
    first = groups[0].by_seed(section.metric)
    behind = [paired(group.by_seed(section.metric), first) for group in groups[1:]]
    corrected = holm([pair.p for pair in behind])
    places = [Place(groups[0]), *map(Place, groups[1:], behind, corrected)]
    sentences = [*_order(section, places), *_selection(section), *_contradictions(section)]
    return Ranking(places, sentences)


def _candidates(section: Section) -> list[Group]:
    strategies = by_strategy(section)
    if len(strategies) == 1:
        return section.measured
    candidates = []
    for groups in strategies.values():
        chosen = section.chosen(groups)
        candidates += groups if chosen is None else [chosen]
    return candidates


def _order(section: Section, places: list[Place]) -> list[str]:
    metric = section.metric
    first = places[0].group
    sentences = [f"First is {first.label}: {_mean(first.spread(metric), metric)}."]
    if len(places) == 1:
        return [*sentences, "There is nothing to compare it with."]
    tested = [place for place in places[1:] if place.p is not None]
    if not tested:
        return [
            *sentences,
            "No two settings share two seeds: nothing can be concluded about their order. "
            "Run more seeds, such as seed=0,1,2,3,4,5.",
        ]
    untested = [place for place in places[1:] if place.p is None]
    if untested:
        sentences.append(f"Not tested, for lack of two shared seeds: {_labels(untested)}.")
    return [*sentences, *(_no_power(tested) or _tests(tested))]


def _tests(tested: list[Place]) -> list[str]:
    ahead = [place for place in tested if (place.p or 0) < LEVEL]
    level = [place for place in tested if (place.p or 0) >= LEVEL]
    sentences = []
    if ahead:
        sentences.append(
            f"It is ahead of {_labels(ahead)} (p < {LEVEL:g} after Holm's correction)."
        )
    if level:
        sentences.append(f"It can't be told apart from {_labels(level)}.")
    return sentences


def _no_power(tested: list[Place]) -> list[str]:
    """If there are too few seeds to show anything: a sentence that says so."""
    n = max(place.behind.difference.n for place in tested if place.behind)
    count = len(tested)
    smallest = smallest_p(n)
    if n > EXACT_UP_TO or smallest * count < LEVEL:
        return []
    corrected = "" if count == 1 else f", {min(1.0, smallest * count):.2g} after the correction"
    return [
        f"This order is an observation, not a conclusion: with {n} shared seeds the smallest p "
        f"that the test can give is {smallest:.2g}{corrected}, so no difference is significant, "
        f"however large. With {counted(count, 'comparison')} it takes {seeds_needed(count)} seeds."
    ]


def _selection(section: Section) -> list[str]:
    if len(by_strategy(section)) == len(section.measured):
        return []
    chosen = section.chosen(section.measured)
    if chosen is None:
        return [
            "No data was held out (dataset.validation_fraction is 0), so no setting was chosen: "
            "taking the best row of this table would be selecting on test data."
        ]
    eligible = section.eligible(section.measured)
    left_out = [group.label for group in section.measured if group not in eligible]
    fewer = f"; left out, because they have fewer seeds: {_listed(left_out)}" if left_out else ""
    return [
        f"Chosen is {chosen.label}: of {len(eligible)} settings it has the best mean over the "
        f"tasks on validation data after the last task{fewer}. The order above is on test data, "
        "which is not used to choose."
    ]


def _contradictions(section: Section) -> list[str]:
    """Runs with equal settings and seeds give equal results, by one version on one machine."""
    names = [run.name for group in section.groups for run in group.contradicted]
    if not names:
        return []
    return [
        f"Not counted: {_listed(names)}. Another run with the same settings and seed has different "
        "results. Do they come from different versions or machines?"
    ]


def _labels(places: Iterable[Place]) -> str:
    return _listed([place.group.label for place in places])


def _listed(names: list[str]) -> str:
    if len(names) > 4:
        return f"{'; '.join(names[:3])} and {len(names) - 3} more"
    return "; ".join(names)


def _mean(spread: Spread, metric: Metric) -> str:
    seeds = counted(spread.n, "seed")
    if spread.low is not None:
        low, high = metric.unit.text(spread.low), metric.unit.text(spread.high)
        seeds = f"95 % interval {low} to {high}, {seeds}"
    return f"{metric.sentence(spread.mean)} ({seeds})"
