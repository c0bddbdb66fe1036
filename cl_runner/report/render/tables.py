"""The tables of a section: results, ranking, sensitivity, costs, conventions, runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean

from cl_runner.jobs.job import last_part
from cl_runner.measures import Unit
from cl_runner.report.compare.groups import Group, Section, shown
from cl_runner.report.compare.ranking import Ranking
from cl_runner.report.compare.significance import Spread
from cl_runner.report.compare.varying import by_strategy, mean_by_value, seed_deviation, swept


@dataclass(frozen=True)
class Cell:
    """What is shown, and the number it is sorted by; a cell without one is sorted by its text."""

    text: str
    value: float | None = None


@dataclass(frozen=True)
class Table:
    """A heading, its columns and rows, and what has to be known to read it."""

    title: str
    columns: list[str]
    rows: list[list[Cell]]
    notes: list[str] = field(default_factory=list)

    @cached_property
    def numeric(self) -> list[bool]:
        """Which columns are of numbers."""
        return [any(r[c].value is not None for r in self.rows) for c in range(len(self.columns))]


def results(section: Section, brief: bool = False) -> Table:
    """One row per group: mean ± standard deviation over seeds of each metric, 95 % interval and
    number of seeds; the best mean first, and what is not complete is counted. brief: as wide as a
    terminal, with the most common metrics."""
    first, keys = section.metric, section.varied
    common = section.measure.headline[:2]
    others = [m for m in section.metrics if m != first and (not brief or m.name in common)]
    rows = []
    for group in [
        *section.best_first(section.measured),
        *(group for group in section.groups if not group.complete),
    ]:
        spread = group.spread(first)
        rows.append([
            Cell(group.strategy),
            *(_setting(group, key) for key in keys),
            Cell(str(spread.n), spread.n),
            Cell(_states(group), len(group.unfinished)),
            _mean(spread, first.unit),
            _interval(spread, first.unit),
            *(_mean(group.spread(metric), metric.unit) for metric in others),
            _number(group.validation.mean, section.measure.unit),
        ])  # fmt: skip
    columns = ["strategy", *map(last_part, keys), "seeds", "not complete", first.title,
               "95 % interval", *(metric.title for metric in others), "validation"]  # fmt: skip
    note = (f"{section.measure.label.capitalize()}, mean ± standard deviation over seeds; interval "
            "of the mean by Student's t.")  # fmt: skip
    return Table("Results", columns, rows, [note])


def ranking(section: Section, ranked: Ranking) -> Table:
    """One row per place, with its distance to the first."""
    unit = section.metric.unit
    rows = []
    for number, place in enumerate(ranked.places, start=1):
        mean = _mean(place.group.spread(section.metric), unit)
        row = [Cell(str(number), number), Cell(place.group.label), mean]
        if place.behind is None:
            row += [Cell("–")] * 5
        else:
            difference, effect = place.behind.difference, place.behind.effect
            row += [
                Cell(unit.text(difference.mean, plus="+"), difference.mean),
                _interval(difference, unit),
                Cell("–" if effect is None else f"{effect:.1f}", effect),
                Cell(_p(place.p), place.p),
                Cell(str(difference.n), difference.n),
            ]
        rows.append(row)
    columns = ["place", "strategy", section.metric.title, "difference to the first",
               "95 % interval of it", "effect size", "p (Holm)", "pairs"]  # fmt: skip
    notes = [
        "Differences are taken seed by seed; p is two-sided, of a permutation test of their signs "
        "(above 13 seeds Wilcoxon's), corrected after Holm; the effect size is their mean over "
        "their standard deviation. Intervals are Student's t, each for itself: they are not "
        "corrected. The first was found on these same seeds, which favours it.",
    ]
    return Table("Ranking", columns, rows, notes)


def sensitivity(section: Section) -> Table:
    """For each swept setting of a strategy, how far the metric moves over its values, beside how
    far it moves over seeds."""
    metric = section.metric
    rows = []
    for strategy, groups in by_strategy(section).items():
        for key in swept(groups):
            means = mean_by_value(groups, key, metric)
            rows.append([
                Cell(strategy),
                Cell(key),
                Cell(", ".join(means)),
                Cell(max(means, key=lambda value: metric.gain(means[value]))),
                _number(max(means.values()) - min(means.values()), metric.unit),
                _number(seed_deviation(groups, metric), metric.unit),
            ])  # fmt: skip
    columns = ["strategy", "setting", "values", "best on test data", "moves the mean by",
               "seeds move it by"]  # fmt: skip
    notes = [f"Of {metric.title} on test data: the largest minus the smallest of the values' "
             "means, each over all settings with that value; beside it the standard deviation "
             "over the seeds of one setting."]  # fmt: skip
    return Table("Sensitivity to each setting", columns, rows, notes)


def costs(section: Section) -> Table:
    """What each group takes: seconds, samples, memory, and what its strategy keeps between
    tasks."""
    spent = {g.label: [run.results.cost for run in g.complete] for g in section.measured}
    kept = sorted({part for costs in spent.values() for c in costs for part in c.state_bytes})
    rows = []
    for label, costs in spent.items():
        seconds = fmean(cost.seconds for cost in costs)
        backward = fmean(cost.samples_backward for cost in costs)
        peak = max(cost.peak_memory_bytes for cost in costs)
        sizes = [fmean(cost.state_bytes.get(part, 0) for cost in costs) for part in kept]
        rows.append([
            Cell(label),
            Cell(f"{seconds:.1f}", seconds),
            Cell(f"{backward:.0f}", backward),
            *(Cell(f"{size / 1e6:.3f}", size) for size in sizes),
            Cell(f"{peak / 1e6:.0f}", peak),
        ])  # fmt: skip
    columns = ["strategy", "seconds", "samples backward", *(f"{part}, MB" for part in kept),
               "peak memory, MB"]  # fmt: skip
    notes = ["Means over seeds. A run that took over a trained first task counts its seconds and "
             "samples, too. Peak memory is of the process, in a sweep of all its jobs so "
             "far."]  # fmt: skip
    return Table("Costs", columns, rows, notes)


def conventions(section: Section) -> Table:
    """Every choice of a formula by its name, and which groups made it."""
    made: dict[str, dict[str, list[str]]] = {}
    for group in section.measured:
        for key, value in group.complete[0].results.conventions.items():
            made.setdefault(key, {}).setdefault(shown(value), []).append(group.strategy)
    rows = [
        [Cell(key), Cell(value), Cell(", ".join(dict.fromkeys(strategies)))]
        for key, values in sorted(made.items())
        for value, strategies in values.items()
    ]
    return Table("Conventions", ["convention", "value", "strategies"], rows)


def definitions(section: Section) -> Table:
    """The definition of each metric that is shown."""
    rows = [[Cell(metric.title), Cell(metric.definition)] for metric in section.metrics]
    note = (f"{section.measure.symbol}[t][k] is the {section.measure.title} on the test data of "
            "task k after learning task t; T is the number of tasks.")  # fmt: skip
    return Table("Metrics", ["metric", "definition"], rows, [note])


def runs(section: Section) -> Table:
    """One row per run, complete or not."""
    rows = []
    for group in section.groups:
        for run in group.runs:
            alarms = run.results.alarms if run.complete else []
            seconds = run.results.cost.seconds if run.complete else None
            rows.append([
                Cell(run.name),
                Cell(group.label),
                Cell(shown(run.seed)),
                Cell(run.state),
                _number(run.value(section.metric), section.metric.unit),
                Cell("–" if seconds is None else f"{seconds:.1f}", seconds),
                Cell("; ".join([*alarms, run.error]).strip("; ")),
            ])  # fmt: skip
    columns = ["run", "strategy", "seed", "state", section.metric.title, "seconds",
               "error or alarm"]  # fmt: skip
    return Table("Runs", columns, rows)


def _setting(group: Group, key: str) -> Cell:
    if key not in group.varied:
        return Cell("–")
    value = group.varied[key]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return Cell(shown(value), float(value) if is_number else None)


def _states(group: Group) -> str:
    counts = Counter(run.state for run in group.unfinished)
    return ", ".join(f"{count} {state}" for state, count in counts.items()) or "–"


def _number(value: float | None, unit: Unit) -> Cell:
    return Cell(unit.text(value), value)


def _mean(spread: Spread, unit: Unit) -> Cell:
    deviation = "" if spread.deviation is None else f" ± {unit.text(spread.deviation)}"
    return Cell(f"{unit.text(spread.mean)}{deviation}", spread.mean)


def _interval(spread: Spread, unit: Unit) -> Cell:
    if spread.low is None:
        return Cell("–")
    return Cell(f"{unit.text(spread.low)} to {unit.text(spread.high)}", spread.low)


def _p(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}" if value >= 0.001 else "< 0.001"
