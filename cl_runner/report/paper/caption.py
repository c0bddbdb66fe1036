"""The caption of a table, and the notes below it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cl_runner.metrics import Metric
from cl_runner.report.compare.groups import Group, Section
from cl_runner.report.compare.significance import LEVEL
from cl_runner.report.paper.cells import Grid, varying
from cl_runner.report.paper.keys import DATASET, NAMED, SCENARIO, STRATEGY, value_of, values_of
from cl_runner.report.paper.marks import At, Mark, within
from cl_runner.report.paper.names import Labels
from cl_runner.text import listed

ERRORS = {"sd": "s.d.", "sem": "standard error"}


@dataclass(frozen=True)
class Caption:
    """What a reader of the table has to know."""

    grid: Grid
    metrics: Sequence[Metric]
    labels: Labels
    error: str
    marks: Mapping[str, Mapping[At, Mark]]
    empty: bool  # whether a cell shows nothing

    def text(self, close: str) -> str:
        """close: how the table marks what is not significantly worse, such as `underlined`."""
        return " ".join([self._what(), *self._direction(), *self._marks(close), *self._rest()])

    def _what(self) -> str:
        signs = {metric.unit.sign for metric in self.metrics}
        names = [self.labels.metric(metric.name) for metric in self.metrics]
        names = [name if n == 0 else _lower(name) for n, name in enumerate(names)]
        if len(signs) > 1:
            units = [m.unit.sign for m in self.metrics]
            names = [f"{n} in {u}" if u else n for n, u in zip(names, units, strict=True)]
        title = listed(names)
        if len(signs) == 1 and "" not in signs:
            title += f" in {signs.pop()}"
        columns = [key.name for key in self.grid.column_keys]
        facts = []
        for key in dict.fromkeys((DATASET, SCENARIO, *columns)):
            values = values_of(self.grid.shown, key)
            if key in columns and self.grid.is_constant(columns.index(key)):
                value = self.grid.columns[0][columns.index(key)]
                values = [] if value is None else [value]
            elif key in self.grid.keys:
                continue
            if len(values) == 1 and values != ["regression"]:  # which the data set says
                fact = self.labels.both(key, values[0])
                facts.append(fact if key in NAMED else _lower(fact))
        on = f" on {', '.join(facts)}" if facts else ""
        return f"{title}{on}: {self._seeds()}."

    def _seeds(self) -> str:
        counts = [group.spread(m).n for group in self.grid.shown for m in self.metrics]
        least, most = min((n for n in counts if n), default=0), max(counts, default=0)
        if most < 2:
            return "one seed"
        seeds = f"{most} seeds" if least == most else f"{least} to {most} seeds"
        alone = ", without ± where there is one" if least == 1 else ""
        return f"mean ± {ERRORS[self.error]} over {seeds}{alone}"

    def _direction(self) -> list[str]:
        less = [m for m in self.metrics if not m.more_is_better]
        if not less or len(less) == len(self.metrics):
            return ["Lower is better."] if less else []
        return [
            f"Lower is better for {listed([_lower(self.labels.metric(m.name)) for m in less])}."
        ]

    def _marks(self, close: str) -> list[str]:
        every = [mark for of_metric in self.marks.values() for mark in of_metric.values()]
        if not every:
            return []
        place, equal = within(self.grid)
        with_equal = [_lower(self.labels.key(key)) for key in equal]
        same = f" with the same {listed(with_equal)}" if equal else ""
        best = f"Bold: best of its {place}{same}"
        if all(mark.p is None for mark in every):
            return [f"{best}; too few seeds for a test."]
        errors = [metric.unit.logarithmic for metric in self.metrics]
        of_logs = (
            " of logarithms" if all(errors) else " (errors: of logarithms)" if any(errors) else ""
        )
        return [
            f"{best}; {close}: not significantly worse (p ≥ {LEVEL:g}, two-sided t-test{of_logs} "
            "paired by seed, Holm's correction over all pairs compared there)."
        ]

    def _rest(self) -> list[str]:
        sentences = []
        bounds = [g for g in self.grid.shown if id(g) in self.grid.bounds]
        if bounds:
            names = listed(self._strategies(bounds))
            sentences.append(f"{names}: upper bound, trained on all data at once and not compared.")
        chosen: dict[tuple[str, str], list[str]] = {}
        for strategy, key, value in dict.fromkeys(self.grid.chosen):
            chosen.setdefault((strategy, key), []).append(self.labels.value(key, value))
        if chosen:
            what = "; ".join(
                f"{self.labels.key(key)} of {self.labels.value(STRATEGY, strategy)} "
                f"({', '.join(values)})"
                for (strategy, key), values in chosen.items()
            )
            sentences.append(f"Chosen on validation data: {what}.")
        return [*sentences, *(["–: not measured."] if self.empty else [])]

    def _strategies(self, groups: Sequence[Group]) -> list[str]:
        return [self.labels.value(STRATEGY, name) for name in values_of(groups, STRATEGY)]

    def notes(self, sections: Sequence[Section]) -> list[str]:
        """For the author: runs that are missing, and settings that differ within a method."""
        return [*self._missing(sections), *self._differing(), *self._few()]

    def _few(self) -> list[str]:
        groups = [g for g in self.grid.shown if id(g) not in self.grid.bounds]
        if len(groups) < 2:
            return []
        few = [group for group in groups if group.spread(self.metrics[0]).n == 2]
        names = listed(self._strategies(few))
        return [f"With 2 seeds ({names}) hardly any difference is significant."] if few else []

    def _missing(self, sections: Sequence[Section]) -> list[str]:
        states = Counter(
            (group.strategy, run.state)
            for section in sections
            for group in section.groups
            for run in group.unfinished
        )
        listed = [
            f"{self.labels.value(STRATEGY, s)} {n} {state}" for (s, state), n in states.items()
        ]
        return (
            [f"Runs that are not complete, so not counted: {', '.join(listed)}."] if listed else []
        )

    def _differing(self) -> list[str]:
        strategies = values_of(self.grid.shown, STRATEGY)
        found: dict[str, list[str]] = {}
        for strategy in strategies:
            groups = [g for g in self.grid.shown if value_of(g, STRATEGY) == strategy]
            for key in varying(groups):
                if key not in self.grid.keys and not key.startswith(DATASET):
                    found.setdefault(key, []).append(strategy)
        keys: dict[str, list[str]] = {}
        for key, of in found.items():
            names = listed([self.labels.value(STRATEGY, name) for name in of])
            keys.setdefault("every method" if of == strategies else names, []).append(key)
        if not keys:
            return []
        differ = "; ".join(f"{listed(names)} of {of}" for of, names in keys.items())
        return [f"Not the same in all cells of a method (see settings in table.csv): {differ}."]


def _lower(name: str) -> str:
    """In the middle of a sentence: `average accuracy`, but `BWT`."""
    return name if name[1:2].isupper() else name[:1].lower() + name[1:]
