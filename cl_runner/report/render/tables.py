"""The tables of a section: results, sensitivity, costs, conventions, metrics, runs."""

from __future__ import annotations

from collections import Counter
from statistics import fmean

from cl_runner.config.overrides import last_part
from cl_runner.measures import Unit
from cl_runner.report.compare.groups import Group, Section
from cl_runner.report.compare.significance import Spread
from cl_runner.report.compare.values import brief, is_number, shown
from cl_runner.report.compare.varying import by_strategy, mean_by_value, seed_deviation, swept
from cl_runner.report.render.table import Cell, Table


def results(section: Section, in_short: bool = False) -> Table:
    """One row per group, the best mean first, upper bounds last: mean ± standard deviation over
    seeds of each metric, 95 % interval, number of seeds and of runs that are not complete. Groups
    that their suite names have no columns of settings. in_short: only the most common metrics, to
    fit a terminal."""
    named = all(group.name for group in section.groups)
    first, keys = section.metric, [] if named else section.varied
    common = section.measure.headline[:2]
    others = [m for m in section.metrics if m != first and (not in_short or m.name in common)]
    rows = []
    ordered = sorted(section.best_first(section.measured), key=lambda group: group.is_upper_bound)
    unmeasured = [group for group in section.groups if not group.complete]
    for group in [*ordered, *unmeasured]:
        spread = group.spread(first)
        rows.append(
            [
                Cell(group.name if named and group.name else group.strategy, setting=group.label),
                *(_setting(group, key) for key in keys),
                Cell.number(spread.n),
                Cell(_states(group), len(group.unfinished)),
                mean_cell(spread, first.unit),
                _interval(spread, first.unit),
                *(mean_cell(group.spread(metric), metric.unit) for metric in others),
                _measured(group.validation.mean, section.measure.unit),
            ]
        )
    columns = [
        "run" if named else "strategy",
        *map(last_part, keys),
        "seeds",
        "not complete",
        first.title,
        "95 % interval",
        *(metric.title for metric in others),
        "validation",
    ]
    note = (
        f"{section.measure.label.capitalize()}, mean ± standard deviation over seeds, "
        "with the interval of the mean by Student's t."
    )
    return Table("Results", columns, rows, [note]).without_empty()


def sensitivity(section: Section) -> Table:
    """For each swept setting of a strategy: how much the metric changes over its values, and how
    much over seeds."""
    metric = section.metric
    rows = []
    for strategy, groups in by_strategy(section).items():
        for key in swept(groups):
            means = mean_by_value(groups, key, metric)
            rows.append(
                [
                    Cell(strategy),
                    Cell(key),
                    Cell(", ".join(f"{v}: {metric.unit.text(mean)}" for v, mean in means.items())),
                    Cell(max(means, key=lambda value: metric.gain(means[value]))),
                    _measured(max(means.values()) - min(means.values()), metric.unit),
                    _measured(seed_deviation(groups, metric), metric.unit),
                ]
            )
    columns = [
        "strategy",
        "setting",
        "mean at each value",
        "best on test data",
        "changes the mean by",
        "seeds change it by",
    ]
    notes = [
        f"{metric.title.capitalize()} on test data. The mean at a value is that over all settings "
        "with it; beside it are the difference between the best and the worst mean, and the "
        "standard deviation over the seeds of one setting."
    ]
    return Table("Sensitivity to each setting", columns, rows, notes)


def costs(section: Section) -> Table:
    """The costs of each group: seconds, samples, memory, and what its strategy stores between
    tasks."""
    spent = {g.label: [run.results.cost for run in g.complete] for g in section.measured}
    stored = sorted({part for costs in spent.values() for c in costs for part in c.state_bytes})
    rows = []
    for label, costs in spent.items():
        seconds = fmean(cost.seconds for cost in costs)
        backward = fmean(cost.samples_backward for cost in costs)
        peak = max(cost.peak_memory_bytes for cost in costs)
        sizes = [fmean(cost.state_bytes.get(part, 0) for cost in costs) for part in stored]
        rows.append(
            [
                Cell(label),
                Cell.number(seconds, ".1f"),
                Cell.number(backward, ".0f"),
                *(Cell(f"{size / 1e6:.3f}", size) for size in sizes),
                Cell(f"{peak / 1e6:.0f}", peak),
            ]
        )
    columns = [
        "strategy",
        "seconds",
        "samples backward",
        *(f"{part}, MB" for part in stored),
        "peak memory, MB",
    ]
    notes = [
        "Means over seeds. The cost of a first task that another run trained is included. Peak "
        "memory is for the whole process, which in a sweep includes all earlier jobs."
    ]
    return Table("Costs", columns, rows, notes)


def conventions(section: Section) -> Table:
    """Every choice between formulas, by name, and the strategies that made it."""
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
    """The definition of each metric that the section has."""
    rows = [[Cell(metric.title), Cell(metric.definition)] for metric in section.metrics]
    note = (
        f"{section.measure.symbol}[t][k] is the {section.measure.title} on the test data of "
        "task k after learning task t; T is the number of tasks."
    )
    return Table("Metrics", ["metric", "definition"], rows, [note])


def runs(section: Section) -> Table:
    """One row per run, complete or not."""
    rows = []
    for group in section.groups:
        for run in group.runs:
            alarms = run.results.alarms if run.complete else []
            seconds = run.results.cost.seconds if run.complete else None
            rows.append(
                [
                    Cell(run.name),
                    Cell(group.label),
                    Cell(shown(run.seed)),
                    Cell(run.state),
                    _measured(run.value(section.metric), section.metric.unit),
                    Cell.number(seconds, ".1f"),
                    Cell("; ".join([*alarms, run.error]).strip("; ")),
                ]
            )
    columns = [
        "run",
        "strategy",
        "seed",
        "state",
        section.metric.title,
        "seconds",
        "error or alarm",
    ]
    return Table("Runs", columns, rows)


def _setting(group: Group, key: str) -> Cell:
    if key not in group.varied:
        return Cell("–")
    value = group.varied[key]
    return Cell(brief(value), float(value) if is_number(value) else None)


def _states(group: Group) -> str:
    counts = Counter(run.state for run in group.unfinished)
    return ", ".join(f"{count} {state}" for state, count in counts.items()) or "–"


def _measured(value: float | None, unit: Unit) -> Cell:
    return Cell(unit.text(value), value)


def mean_cell(spread: Spread, unit: Unit) -> Cell:
    """The mean ± its standard deviation over seeds."""
    deviation = "" if spread.deviation is None else f" ± {unit.text(spread.deviation)}"
    return Cell(f"{unit.text(spread.mean)}{deviation}", spread.mean)


def _interval(spread: Spread, unit: Unit) -> Cell:
    if spread.low is None:
        return Cell("–")
    return Cell(f"{unit.text(spread.low)} to {unit.text(spread.high)}", spread.low)
