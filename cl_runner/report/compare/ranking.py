"""Which strategy, or which setting of one, is ahead, and what of that can be concluded."""

from __future__ import annotations

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


@dataclass(frozen=True)
class Place:
    """One row: a group, and how far it is behind the first. first: None for the first itself."""

    group: Group
    behind: Paired | None
    p: float | None  # after Holm's correction


@dataclass(frozen=True)
class Ranking:
    """Places in order of the section's metric, and what can be said of them, in sentences."""

    places: list[Place]
    sentences: list[str]


def rank(section: Section) -> Ranking:
    """Strategies, each with the setting that was chosen on validation data; where there is none,
    or only one strategy, all its settings. Every one is tested against the first."""
    groups = section.best_first(_candidates(section))
    if not groups:
        return Ranking([], ["No run is complete: there is nothing to conclude."])
    first = groups[0].by_seed(section.metric)
    behind = [paired(group.by_seed(section.metric), first) for group in groups[1:]]
    corrected = holm([pair.p for pair in behind])
    places = [Place(groups[0], None, None)]
    for group, pair, p in zip(groups[1:], behind, corrected, strict=True):
        places.append(Place(group, pair, p))
    sentences = [*_order(section, places), *_selection(section), *_contradictions(section)]
    return Ranking(places, sentences)


def _candidates(section: Section) -> list[Group]:
    strategies = list(dict.fromkeys(group.strategy for group in section.measured))
    if len(strategies) == 1:
        return section.measured
    candidates = []
    for strategy in strategies:
        mine = [group for group in section.measured if group.strategy == strategy]
        chosen = section.chosen(mine)
        candidates += [chosen] if chosen is not None else mine
    return candidates


def _order(section: Section, places: list[Place]) -> list[str]:
    metric = section.metric
    first = places[0].group
    sentences = [f"First is {first.label}: {_mean(first.spread(metric), metric)}."]
    if len(places) == 1:
        return [*sentences, "There is nothing to compare it with."]
    tested = [place for place in places[1:] if place.p is not None]
    if not tested:
        return [*sentences, "No two settings share two seeds: nothing about their order can be "
                "concluded. Run more seeds, such as seed=0,1,2,3,4,5."]  # fmt: skip
    untested = [place for place in places[1:] if place.p is None]
    if untested:
        sentences.append(f"Not tested, for want of two shared seeds: {_labels(untested)}.")
    return [*sentences, *(_no_power(tested) or _tests(tested))]


def _tests(tested: list[Place]) -> list[str]:
    ahead = [place for place in tested if (place.p or 0) < LEVEL]
    level = [place for place in tested if (place.p or 0) >= LEVEL]
    return [
        *([f"It is ahead of {_labels(ahead)} (p < {LEVEL:g} after Holm's correction)."]
          if ahead else []),
        *([f"It can't be told apart from {_labels(level)}."] if level else []),
    ]  # fmt: skip


def _no_power(tested: list[Place]) -> list[str]:
    """That so few seeds cannot show anything, where that is so."""
    n = max(place.behind.difference.n for place in tested if place.behind)
    count = len(tested)
    smallest = smallest_p(n)
    if n > EXACT_UP_TO or smallest * count < LEVEL:
        return []
    comparisons = "one comparison" if count == 1 else f"{count} comparisons"
    corrected = "" if count == 1 else f", {min(1.0, smallest * count):.2g} after the correction"
    return [
        f"That order is an observation and no conclusion: with {n} shared seeds the smallest p "
        f"that the test can give is {smallest:.2g}{corrected}, so that no difference, however "
        f"large, is significant. For {comparisons} it takes {seeds_needed(count)} seeds."
    ]


def _selection(section: Section) -> list[str]:
    several = any(
        sum(other.strategy == group.strategy for other in section.measured) > 1
        for group in section.measured
    )
    if not several:
        return []
    chosen = section.chosen(section.measured)
    if chosen is None:
        return ["No data was held out (dataset.validation_fraction is 0), so no setting was "
                "chosen: to take the best row of this table would be to select on test "
                "data."]  # fmt: skip
    eligible = section.eligible(section.measured)
    left_out = [group for group in section.measured if group not in eligible]
    fewer = f"; left out, for want of as many seeds: {_names(left_out)}" if left_out else ""
    return [f"Chosen is {chosen.label}: of {len(eligible)} settings it has the best mean over the "
            f"tasks on validation data after the last task{fewer}. The order above is of test "
            "data, which chooses nothing."]  # fmt: skip


def _contradictions(section: Section) -> list[str]:
    """Equal settings and seeds give equal results, of one version on one machine."""
    names = [run.name for group in section.groups for run in group.contradicted]
    if not names:
        return []
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return [f"Not counted, as a run with the same settings and seed is, with other results: "
            f"{'; '.join(names[:3])}{more}. Are they of another version or machine?"]  # fmt: skip


def _labels(places: list[Place]) -> str:
    return _names([place.group for place in places])


def _names(groups: list[Group]) -> str:
    labels = [group.label for group in groups]
    if len(labels) > 4:
        return f"{'; '.join(labels[:3])} and {len(labels) - 3} more"
    return "; ".join(labels)


def _mean(spread: Spread, metric: Metric) -> str:
    seeds = "1 seed" if spread.n == 1 else f"{spread.n} seeds"
    if spread.low is not None:
        low, high = metric.unit.text(spread.low), metric.unit.text(spread.high)
        seeds = f"95 % interval {low} to {high}, {seeds}"
    return f"{metric.sentence(spread.mean)} ({seeds})"
