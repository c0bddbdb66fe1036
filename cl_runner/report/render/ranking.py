"""The table of the ranking: places, differences to the reference, their intervals and p values."""

from __future__ import annotations

from cl_runner.measures import Unit
from cl_runner.report.compare.amounts import end, number
from cl_runner.report.compare.comparisons import Comparison, Comparisons
from cl_runner.report.compare.groups import Section
from cl_runner.report.compare.significance import LEVEL, smallest_p_of_signs
from cl_runner.report.render.table import Cell, Table
from cl_runner.report.render.tables import mean_cell


def table(section: Section, compared: Comparisons) -> Table:
    """One row per ranked group, the best mean first, with its difference to the reference; then
    upper bounds."""
    unit = section.metric.unit
    of_group = {id(one.group): one for one in compared.made}
    several = len(compared.references) > 1
    rows = []
    for row, group in enumerate([*compared.ranked, *compared.bounds], start=1):
        place = Cell.number(row) if row <= len(compared.ranked) else Cell("upper bound")
        mean = mean_cell(group.spread(section.metric), unit)
        one = of_group.get(id(group))
        reference = [Cell(one.reference.label if one else "–")] if several else []
        name = Cell(group.label, setting=group.label)
        rows.append([place, name, mean, *reference, *_difference(one, unit)])
    to = "its reference" if several else next((r.label for r in compared.references), "–")
    columns = [
        "place",
        "strategy",
        section.metric.title,
        *(["reference"] if several else []),
        f"{'ratio' if unit.logarithmic else 'difference'} to {to}",
        "its interval",
        "effect size",
        "p (t, Holm)",
        "p of signs",
        "least p of signs",
        "pairs",
    ]
    notes = [
        f"{'Ratios of errors' if unit.logarithmic else 'Differences'} are taken seed by seed. p is "
        "two-sided, from Student's t-test, with Holm's correction. Each interval has at least 95 % "
        "and the level of its step in that correction, so it excludes "
        f"{1 if unit.logarithmic else 0} exactly where p < {LEVEL:g}. The effect size is the mean "
        "difference divided by its standard deviation over seeds. The p of signs assumes only "
        "symmetry: it counts all changes of the differences' signs (above 13 seeds, Wilcoxon's "
        "test) and is not corrected; beside it is the smallest that so many pairs can give.",
    ]
    if section.step:
        notes.append(
            "Standard deviations of differences are taken to be at least one test sample "
            f"({end(section.step, unit)} points): equal counts prove nothing about the next seed."
        )
    return Table("Ranking", columns, rows, notes)


def _difference(one: Comparison | None, unit: Unit) -> list[Cell]:
    if one is None:
        return [Cell("–")] * 7
    least = smallest_p_of_signs(one.n) if one.n > 1 else None
    low, high = ((end if one.significant else number)(x, unit) for x in (one.low, one.high))
    return [
        Cell(number(one.mean, unit, plus="+"), one.mean),
        Cell("–" if one.low is None else f"{low} to {high}", one.low),
        Cell.number(one.effect, ".1f"),
        Cell(_p(one.p), one.p),
        Cell(_p(one.p_of_signs), one.p_of_signs),
        Cell(_p(least), least),
        Cell.number(one.n),
    ]


def _p(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}" if value >= 0.001 else "< 0.001"
