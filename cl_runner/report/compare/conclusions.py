"""What can be concluded from the comparisons of a section, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from cl_runner.metrics import Metric
from cl_runner.report.compare.amounts import amount, end, margin_text, number, reach
from cl_runner.report.compare.comparisons import Asked, Comparison, Comparisons
from cl_runner.report.compare.groups import Group, Section, ranked
from cl_runner.report.compare.significance import LEVEL, smallest_p_of_signs
from cl_runner.report.compare.varying import by_strategy
from cl_runner.text import counted

MOST_SENTENCES = 10
"""Of more comparisons, only what is ahead, what is behind and what is neither is listed."""


def conclusions(section: Section, compared: Comparisons, asked: Asked) -> list[str]:
    """The best mean, a sentence for each comparison, what they assume, what was not compared."""
    if not compared.ranked:
        return ["No run is complete: there is nothing to conclude."]
    metric = section.metric
    tested = [one for one in compared.made if one.p is not None]
    asked_for = [one.turned() for one in tested] if compared.about_reference else tested
    untested = [one for one in compared.made if one.p is None]
    few = len(tested) <= MOST_SENTENCES
    return [
        f"Best mean: {_mean(compared.ranked[0], metric)}.",
        *(f"Upper bound, not ranked: {_mean(group, metric)}." for group in compared.bounds),
        *([] if compared.made or compared.unpaired else ["There is nothing to compare it with."]),
        *_elsewhere(compared, asked),
        *([_sentence(one, metric, asked.margin) for one in asked_for] if few else []),
        *([] if few else _summary(tested, metric, asked.margin)),
        *(_untested(untested) if tested else _one_seed(untested)),
        *_unpaired(compared),
        *(_assumption(compared, tested, metric) if tested else []),
        *_selection(section),
        *_contradictions(section),
    ]


def _elsewhere(compared: Comparisons, asked: Asked) -> list[str]:
    """A name that was asked for, and that only other streams have."""
    known = {name for g in [*compared.ranked, *compared.bounds] for name in (g.label, g.strategy)}
    missing = [name for name in (asked.baseline, asked.method) if name and name not in known]
    return [f"No run of {name} is complete here." for name in missing]


def _sentence(one: Comparison, metric: Metric, margin: float | None) -> str:
    """`one` as it is asked: its group is the subject."""
    unit = metric.unit
    subject, other = one.group.label, one.reference.label
    within = "" if margin is None else f"within ±{margin_text(margin, unit)}"
    equivalent = margin is not None and one.within(reach(margin, unit))
    if one.significant and one.mean is not None:
        place = "ahead of" if metric.gain(one.mean) > 0 else "behind"
        if unit.logarithmic:
            size, words = one, f"{place} {other}: {amount(one.mean, unit)}"
        else:
            size = one if one.mean > 0 else one.turned()
            words = f"{amount(size.mean, unit)} {place} {other}"
        small = f", which is {within}" if equivalent else ""
        return f"{subject} is {words} {_interval(size, metric)}{small}."
    if equivalent:
        verdict = f"are equivalent {within}"
    elif one.equal:
        title = metric.title
        return f"{subject} and {other} have the same {title} with every seed ({_seeds(one)})."
    else:
        verdict = "cannot be told apart" + (f", nor called equivalent {within}" if within else "")
    return f"{subject} and {other} {verdict}: {amount(one.mean, unit)} {_interval(one, metric)}."


def _interval(one: Comparison, metric: Metric) -> str:
    show = end if one.significant else number
    low, high = show(one.low, metric.unit), show(one.high, metric.unit)
    return f"(95 % interval {low} to {high}, {_seeds(one)})"


def _seeds(one: Comparison) -> str:
    shared = len(one.group.complete) != one.n or len(one.reference.complete) != one.n
    return counted(one.n, "shared seed" if shared else "seed")


def _summary(tested: Sequence[Comparison], metric: Metric, margin: float | None) -> list[str]:
    """If there are too many comparisons for a sentence each."""
    unit = metric.unit
    limit = 0.0 if margin is None else reach(margin, unit)
    within = "" if margin is None else f" within ±{margin_text(margin, unit)}"
    sides: dict[tuple[str, str], list[Comparison]] = {}
    for one in tested:
        side = "Cannot be told apart from"
        if one.significant:
            side = "Ahead of" if metric.gain(one.mean or 0) > 0 else "Behind"
        elif one.within(limit):
            side = f"Equivalent{within} to"
        sides.setdefault((side, one.reference.label), []).append(one)
    said = []
    for (side, reference), of in sides.items():
        seen = _from_to(of, metric) if side in ("Ahead of", "Behind") else ""
        said.append(f"{side} {reference} ({len(of)}{seen}): {_labels(of)}.")
        if side.startswith("Cannot"):
            largest = max(of, key=lambda one: abs(one.mean or 0))
            size = f"{amount(largest.mean, unit)} {_interval(largest, metric)}"
            said.append(
                f"The largest of these differences is that of {largest.group.label}: {size}."
            )
    return said


def _from_to(of: Sequence[Comparison], metric: Metric) -> str:
    """`, by 2.0 to 5.1 points`, or `, with 0.2 to 0.5 times the error`."""
    unit = metric.unit
    sizes = sorted(one.mean or 0 for one in of)
    if not unit.logarithmic:
        sizes = sorted(map(abs, sizes))
    low, high = (number(sizes[end], unit) for end in (0, -1))
    least = "" if low == high else f"{low} to "
    return f", {'with' if unit.logarithmic else 'by'} {least}{amount(sizes[-1], unit)}"


def _untested(untested: Sequence[Comparison]) -> list[str]:
    """Comparisons that could not be made, beside others that could."""
    few = [one for one in untested if one.n < 2]
    fixed = [one for one in untested if one.n >= 2]
    return [
        *([f"Not compared, for lack of two shared seeds: {_labels(few)}."] if few else []),
        *(
            [f"Not compared, as the ratio is the same with every seed: {_labels(fixed)}."]
            if fixed
            else []
        ),
    ]


def _unpaired(compared: Comparisons) -> list[str]:
    """Groups for which none of several references was trained with the same settings."""
    if not compared.unpaired:
        return []
    name = compared.references[0].strategy
    which = _listed([group.label for group in compared.unpaired])
    return [f"Not compared, as no {name} has the same model and training: {which}."]


def _one_seed(untested: Sequence[Comparison]) -> list[str]:
    """If no comparison could be made."""
    if any(one.n >= 2 for one in untested):
        return _untested(untested)
    if not untested:
        return []
    return [
        "No two of them share two seeds, so nothing can be concluded about their differences. "
        "Run more, such as seed=0,1,2."
    ]


def _assumption(compared: Comparisons, tested: Sequence[Comparison], metric: Metric) -> list[str]:
    """What the sentences rest on."""
    chance = "the chance of seeing a difference where there is none is 5 %"
    if compared.family > 1:
        chosen = ", as any of them could have been the best" if compared.picked else ""
        chance = (
            "the chance of seeing any difference where there is none is at most 5 % (Holm's "
            f"correction for {compared.family} comparisons{chosen}; it widens their intervals too)"
        )
    what = "logarithms of ratios" if metric.unit.logarithmic else "differences"
    assumed = f"Assumed: {what}, taken seed by seed, are about normally distributed (Student's t)"
    return [f"{assumed}. Then {chance}.", *_without_it(tested)]


def _without_it(tested: Sequence[Comparison]) -> list[str]:
    """What is left of the differences that were seen, with a test that assumes less."""
    seen = [one for one in tested if one.significant]
    if not seen:
        return []
    n = max(one.n for one in seen)
    smallest = smallest_p_of_signs(n)
    test = "A test that only assumes symmetry (all changes of the differences' signs)"
    if smallest >= LEVEL:
        return [f"{test} cannot confirm this with {n} seeds: its smallest p is {smallest:.3g}."]
    doubtful = [one for one in seen if one.p_of_signs is None or one.p_of_signs >= LEVEL]
    if doubtful:
        return [f"{test} does not confirm this (p is {LEVEL:g} or more): {_labels(doubtful)}."]
    return [f"{test} confirms this (p < {LEVEL:g} for each, not corrected)."]


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
    left_out = [group.label for group in ranked(section.measured) if group not in eligible]
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


def _labels(comparisons: Sequence[Comparison]) -> str:
    return _listed([one.group.label for one in comparisons])


def _listed(names: list[str]) -> str:
    if len(names) > 4:
        return f"{'; '.join(names[:3])} and {len(names) - 3} more"
    return "; ".join(names)


def _mean(group: Group, metric: Metric) -> str:
    spread = group.spread(metric)
    seeds = counted(spread.n, "seed")
    if spread.low is not None:
        low, high = metric.unit.text(spread.low), metric.unit.text(spread.high)
        seeds = f"95 % interval {low} to {high}, {seeds}"
    return f"{group.label}, {metric.sentence(spread.mean)} ({seeds})"
