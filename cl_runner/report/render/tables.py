"""The tables of a section: results, ranking, sensitivity, costs, conventions, runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean
from typing import Any

from cl_runner.config.overrides import last_part
from cl_runner.metrics import METRICS as DEFINITIONS
from cl_runner.report.compare.groups import Group, Section, shown
from cl_runner.report.compare.ranking import Ranking
from cl_runner.report.compare.significance import Spread
from cl_runner.report.compare.varying import by_strategy, mean_by_value, seed_deviation, swept
from cl_runner.text import number

OF_REGRESSION = ("average_mse", "mse_growth")
OF_CLASSES = tuple(name for name in DEFINITIONS if name not in OF_REGRESSION)
BRIEF = ("average_accuracy", "forgetting", *OF_REGRESSION)


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


def metrics(section: Section) -> list[str]:
    """Those that some run of the section has."""
    names = OF_REGRESSION if section.regression else OF_CLASSES
    return [name for name in names if any(g.spread(name).n for g in section.measured)]


def results(section: Section, brief: bool = False) -> Table:
    """A row a group: mean ± standard deviation over seeds of each metric, 95 % interval and number
    of seeds; the best mean first, and what is not complete is counted. brief: as wide as a
    terminal, with the most common metrics."""
    shown_metrics = [m for m in metrics(section) if not brief or m in BRIEF]
    keys = section.varied
    measured = section.best_first(section.measured)
    rows = []
    for group in [*measured, *(g for g in section.groups if not g.complete)]:
        of_metric = group.spread(section.metric)
        row = [
            *_who(group, keys),
            Cell(str(of_metric.n), of_metric.n),
            Cell(_states(group), len(group.unfinished)),
            _mean(of_metric, section.metric),
            _interval(of_metric, section.metric),
            *(_mean(group.spread(m), m) for m in shown_metrics if m != section.metric),
            _validation(group, section),
        ]
        rows.append(row)
    settings = ["strategy", *map(last_part, keys)]
    main = ["seeds", "not complete", _words(section.metric), "95 % interval"]
    others = [_words(m) for m in shown_metrics if m != section.metric]
    columns = [*settings, *main, *others, "validation"]
    unit = "Mean squared errors" if section.regression else "Accuracies in %"
    note = f"{unit}, mean ± standard deviation over seeds; interval of the mean by Student's t."
    return Table("Results", columns, rows, [note])


def ranking(section: Section, found: Ranking) -> Table:
    """A row a place, with its distance to the first."""
    rows = []
    for place, entry in enumerate(found.places, start=1):
        spread = entry.group.spread(section.metric)
        row = [Cell(str(place), place), Cell(entry.group.label), _mean(spread, section.metric)]
        if entry.behind is None:
            row += [Cell("–")] * 5
        else:
            behind = entry.behind
            row += [
                Cell(_signed(behind.difference.mean, section), behind.difference.mean),
                _interval(behind.difference, section.metric),
                Cell(_plain(behind.effect), behind.effect),
                Cell(_p(entry.p), entry.p),
                Cell(str(behind.difference.n), behind.difference.n),
            ]
        rows.append(row)
    behind_first = ["difference to the first", "95 % interval of it", "effect size", "p (Holm)"]
    columns = ["place", "strategy", _words(section.metric), *behind_first, "pairs"]
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
    rows = []
    for strategy, groups in by_strategy(section).items():
        for key in swept(groups):
            means = mean_by_value(groups, key, section.metric)
            low, high = min(means.values()), max(means.values())
            noise = seed_deviation(groups, section.metric)
            best = (min if section.regression else max)(means, key=lambda v: means[v])
            names = [Cell(strategy), Cell(key), Cell(", ".join(means)), Cell(best)]
            moves = Cell(_difference(high - low, section), high - low)
            seeds = Cell("–" if noise is None else _difference(noise, section), noise)
            rows.append([*names, moves, seeds])
    names_of = ["strategy", "setting", "values", "best on test data"]
    columns = [*names_of, "moves the mean by", "seeds move it by"]
    notes = [
        f"Of {_words(section.metric)} on test data: the largest minus the smallest of the "
        "values' means, each over all settings with that value; beside it the standard "
        "deviation over the seeds of one setting."
    ]
    return Table("Sensitivity to each setting", columns, rows, notes)


def costs(section: Section) -> Table:
    """What each group takes: seconds, samples, memory, and what its strategy keeps between
    tasks."""
    kept = sorted(
        {p for g in section.measured for r in g.complete for p in _state_bytes(r.results)}
    )
    rows = []
    for group in section.measured:
        seconds = fmean(r.results["cost"]["seconds"] for r in group.complete)
        backward = fmean(r.results["cost"]["samples_backward"] for r in group.complete)
        peak = max(r.results["cost"]["peak_memory_bytes"] for r in group.complete)
        sizes = [fmean(_state_bytes(r.results).get(p, 0) for r in group.complete) for p in kept]
        row = [
            Cell(group.label),
            Cell(f"{seconds:.1f}", seconds),
            Cell(f"{backward:.0f}", backward),
            *(Cell(f"{size / 1e6:.3f}", size) for size in sizes),
            Cell(f"{peak / 1e6:.0f}", peak),
        ]
        rows.append(row)
    parts = [f"{part}, MB" for part in kept]
    columns = ["strategy", "seconds", "samples backward", *parts, "peak memory, MB"]
    notes = [
        "Means over seeds. A run that took over a trained first task counts its seconds and "
        "samples, too. Peak memory is of the process, in a sweep of all its jobs so far."
    ]
    return Table("Costs", columns, rows, notes)


def conventions(section: Section) -> Table:
    """Every choice of a formula by its name, and which groups made it."""
    found: dict[str, dict[str, list[str]]] = {}
    for group in section.measured:
        for key, value in group.complete[0].results["conventions"].items():
            found.setdefault(key, {}).setdefault(shown(value), []).append(group.strategy)
    rows = [
        [Cell(key), Cell(value), Cell(", ".join(dict.fromkeys(strategies)))]
        for key, values in sorted(found.items())
        for value, strategies in values.items()
    ]
    return Table("Conventions", ["convention", "value", "strategies"], rows)


def definitions(section: Section) -> Table:
    """The definition of each metric that is shown."""
    rows = [[Cell(_words(m)), Cell(DEFINITIONS[m])] for m in metrics(section)]
    letter = (
        "M[t][k] is the mean squared error" if section.regression else "R[t][k] is the accuracy"
    )
    note = f"{letter} on the test data of task k after learning task t; T is the number of tasks."
    return Table("Metrics", ["metric", "definition"], rows, [note])


def runs(section: Section) -> Table:
    """A row a run, complete or not."""
    rows = []
    for group in section.groups:
        for run in group.runs:
            value = run.results.get(section.metric)
            seconds = run.results.get("cost", {}).get("seconds")
            wrong = "; ".join([*map(str, run.results.get("alarms", [])), run.error]).strip("; ")
            row = [
                *map(Cell, (run.name, group.label, shown(run.seed), run.state)),
                Cell(number(value, section.metric), value),
                Cell("–" if seconds is None else f"{seconds:.1f}", seconds),
                Cell(wrong),
            ]
            rows.append(row)
    about = ["run", "strategy", "seed", "state"]
    columns = [*about, _words(section.metric), "seconds", "error or alarm"]
    return Table("Runs", columns, rows)


def _who(group: Group, keys: Iterable[str]) -> list[Cell]:
    cells = [Cell(group.strategy)]
    for key in keys:
        value = group.varied.get(key)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        text = shown(value) if key in group.varied else "–"
        cells.append(Cell(text, float(value) if is_number and value is not None else None))
    return cells


def _states(group: Group) -> str:
    counts: dict[str, int] = {}
    for run in group.unfinished:
        counts[run.state] = counts.get(run.state, 0) + 1
    return ", ".join(f"{count} {state}" for state, count in counts.items()) or "–"


def _mean(spread: Spread, metric: str) -> Cell:
    text = number(spread.mean, metric)
    if spread.deviation is not None:
        text += f" ± {number(spread.deviation, metric)}"
    return Cell(text, spread.mean)


def _interval(spread: Spread, metric: str) -> Cell:
    if spread.low is None:
        return Cell("–")
    return Cell(f"{number(spread.low, metric)} to {number(spread.high, metric)}", spread.low)


def _validation(group: Group, section: Section) -> Cell:
    return Cell(number(group.validation.mean, section.metric), group.validation.mean)


def _signed(value: float | None, section: Section) -> str:
    if value is None:
        return "–"
    return f"{value:+.3g}" if section.regression else f"{100 * value:+.1f}"


def _difference(value: float, section: Section) -> str:
    return f"{value:.3g}" if section.regression else f"{100 * value:.1f}"


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _p(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}" if value >= 0.001 else "< 0.001"


def _state_bytes(results: dict[str, Any]) -> dict[str, int]:
    found: dict[str, int] = results["cost"]["state_bytes"]
    return found


def _words(metric: str) -> str:
    return metric.replace("_", " ")
