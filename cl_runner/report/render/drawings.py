"""Which figures a report shows of one run, of a section of runs, of a suite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from matplotlib.figure import Figure

from cl_runner.config.overrides import last_part
from cl_runner.jobs.job import plain_name
from cl_runner.report.compare.groups import UPPER_BOUND, Group, Section
from cl_runner.report.compare.runs import Run
from cl_runner.report.compare.values import brief
from cl_runner.report.compare.varying import by_strategy, swept
from cl_runner.report.render import figures, settings_figures, strategy_figures
from cl_runner.report.render.figures import MOST_LINES
from cl_runner.report.render.looks import Looks
from cl_runner.report.render.strategy_figures import Point
from cl_runner.reproduce.suite import Suite
from cl_runner.run_folder.read import Arrays

TRADE_OFF = (
    "New against old: after the last task, the accuracy on it against the mean accuracy on earlier "
    "tasks. Large marks are settings, as means over seeds; small dots are seeds."
)
OVER_TASKS = "After each task. Lines are means over seeds, dots are seeds."


@dataclass(frozen=True)
class Drawing:
    """A figure, the name of its file, its caption, and what its parts say when pointed at: the ids
    (`gid` in matplotlib) of artists, and the texts."""

    name: str
    caption: str
    figure: Figure
    hover: Mapping[str, str] = field(default_factory=dict)


def of_section(section: Section, looks: Looks | None = None) -> Iterator[Drawing]:
    """The figures that compare its groups; for a single run, those of all that it measured. looks:
    of the page, if there is more on it than this section."""
    done = [run for group in section.measured for run in group.complete]
    if len(done) == 1:
        yield from of_one(done[0])
    if len(section.measured) > 1:
        yield from of_several(section, looks or Looks.of_sections([section]))


def of_one(run: Run) -> Iterator[Drawing]:
    """The matrix, the course of training and, in regression, the fits."""
    measure = run.results.measure
    yield Drawing(
        f"{measure.name}_matrix",
        "One row per task learned, one column per task measured.",
        figures.accuracy_matrix(run.results),
    )
    if run.results.curve:
        yield Drawing(
            "over_training", "Each task at every evaluation.", figures.over_training(run.results)
        )
    if measure.has_fits:
        panels = {run.results.strategy: run.fits()}
        yield Drawing("fits", "The fit after each task.", figures.fits(panels))


def of_several(section: Section, looks: Looks) -> Iterator[Drawing]:
    """The figures that compare groups of runs."""
    chosen, left_out = most_telling(section)
    if section.measure.has_fits:
        panels = {group.label: group.complete[0] for group in chosen}
        for drawing in of_fits(panels):
            yield replace(drawing, caption=f"{drawing.caption}{left_out}")
    else:
        if section.tasks > 1:
            curves, fewer_curves = _curves(section)
            figure = strategy_figures.trade_off(curves, looks, "earlier tasks", "last task")
            several = any(len(points) > 1 for points in curves.values())
            named = " Settings are named where there is room." * several
            words = f"{TRADE_OFF}{named}{fewer_curves}{strategy_figures.same_trade_off(curves)}"
            yield Drawing("trade_off", words, figure)
        lines = {group.label: [run.results for run in group.complete] for group in chosen}
        same = strategy_figures.same_over_tasks(lines)
        words = f"{OVER_TASKS}{left_out}{same}"
        if any(group.is_upper_bound for group in chosen):
            words += f" The upper bound, {UPPER_BOUND}, sees all data at once."
        yield Drawing("over_tasks", words, strategy_figures.over_tasks(lines, looks))
    for number, effect in enumerate(settings_figures.of_settings(section, looks), 1):
        name = plain_name("_".join([effect.strategy, *effect.keys]))
        name = f"sensitivity_{number}_{name}"
        yield Drawing(name, effect.caption, effect.figure, effect.hover)
    strategies = _best_strategies(section)
    words = f"Costs: one point per setting, means over seeds.{_left_out(strategies, section)}"
    yield Drawing("costs", words, settings_figures.costs(section, strategies, looks))


def _best_strategies(section: Section) -> dict[str, list[Group]]:
    """The groups of each strategy; of only the best, if there are more than the eye can tell
    apart."""
    strategies = by_strategy(section)
    if len(strategies) <= MOST_LINES:
        return strategies
    ordered = dict.fromkeys(group.strategy for group in section.best_first(section.measured))
    return {strategy: strategies[strategy] for strategy in list(ordered)[:MOST_LINES]}


def most_telling(section: Section, most: int = MOST_LINES) -> tuple[list[Group], str]:
    """At most so many groups, taking the best of each strategy first, and what to say of those left
    out. As lines, the eye can tell apart no more than MOST_LINES."""
    ordered = section.best_first(section.measured)
    if len(ordered) <= most:
        return ordered, ""
    strategies = by_strategy(section).values()
    of_each = section.best_first(section.chosen(g) or section.best_first(g)[0] for g in strategies)
    others = [group for group in ordered if group not in of_each]
    kept = section.best_first([*of_each, *others][:most])
    count = f"{most} of {len(ordered)} settings"
    return kept, f" Shown are {count}, starting with the chosen or best one of each strategy."


def _curves(section: Section) -> tuple[dict[str, list[Point]], str]:
    """For each strategy, a curve over its first swept setting for each value of the second; only
    one curve per strategy if there are too many. And what to say of those left out."""
    strategies = _best_strategies(section)
    left_out = _left_out(strategies, section)
    keys = {strategy: swept(groups) or [""] for strategy, groups in strategies.items()}
    lines = {
        strategy: settings_figures.lines(section, groups, *keys[strategy])
        for strategy, groups in strategies.items()
    }
    if sum(map(len, lines.values())) > MOST_LINES:
        left_out += " Each strategy has one curve, through its chosen or best setting."
        lines = {
            strategy: settings_figures.best_line(section, groups, *keys[strategy])
            for strategy, groups in strategies.items()
        }
    curves: dict[str, list[Point]] = {}
    for strategy, of_strategy in lines.items():
        key = keys[strategy][0]
        name = last_part(key)
        for label, ordered in of_strategy.items():
            points = [
                Point(g.label, f"{name} {brief(g.varied.get(key))}", _pairs(g.complete))
                for g in ordered
            ]
            curves[", ".join(filter(None, [strategy, label]))] = points
    return curves, left_out


def _left_out(strategies: Mapping[str, object], section: Section) -> str:
    count = len(by_strategy(section))
    kept = len(strategies)
    return f" Shown are the best {kept} of {count} strategies." if kept < count else ""


def _pairs(runs: Sequence[Run]) -> list[tuple[float, float]]:
    """(earlier tasks, last task): accuracies of each run after the last task, in percent."""
    rows = [[v for v in run.results.matrix[-1] if v is not None] for run in runs]
    return [(100 * fmean(row[:-1]), 100 * row[-1]) for row in rows]


def of_suite(suite: Suite, seeds: Mapping[str, Sequence[Run]], looks: Looks) -> Iterator[Drawing]:
    """The figures that the suite asks for, with its own names. Those without a complete run are
    left out. seeds: the complete runs of each name in the suite, by seed."""
    for figure, asked in suite.figures.items():
        if asked["kind"] == "trade_off":
            curves = {
                label: [Point(run, text, _pairs(seeds[run])) for run, text in points.items()
                        if run in seeds]
                for label, points in asked["curves"].items()
            }  # fmt: skip
            drawn = {label: points for label, points in curves.items() if points}
            if drawn:
                axes = asked["old"], asked["new"]
                words = TRADE_OFF + strategy_figures.same_trade_off(drawn)
                yield Drawing(figure, words, strategy_figures.trade_off(drawn, looks, *axes))
        elif asked["kind"] == "over_tasks":
            lines = {run: [r.results for r in seeds[run]] for run in asked["runs"] if run in seeds}
            if lines:
                words = OVER_TASKS + strategy_figures.same_over_tasks(lines)
                yield Drawing(figure, words, strategy_figures.over_tasks(lines, looks))
        elif asked["kind"] == "over_training":
            for run in seeds.get(asked["run"], [])[:1]:
                words = f"{asked['run']}: the accuracy on each task over training, first seed."
                yield Drawing(figure, words, figures.over_training(run.results))
        else:
            first = {label: seeds[run][0] for label, run in asked["runs"].items() if run in seeds}
            for drawing in of_fits(first):
                yield replace(drawing, name=f"{figure}_{drawing.name}")


def of_fits(runs: Mapping[str, Run]) -> Iterator[Drawing]:
    """Fits side by side and, if they were measured, the errors over the epochs."""
    if not runs:
        return
    panels = {label: run.fits() for label, run in runs.items()}
    yield Drawing("fits", "The fit after each task, first seed.", figures.fits(panels))
    if all(run.results.curve for run in runs.values()):
        results = {label: run.results for label, run in runs.items()}
        words = "The error on each task over all epochs, first seed."
        yield Drawing("errors_over_epochs", words, figures.errors_over_epochs(results))


def moving(section: Section) -> dict[str, Arrays]:
    """The panels of an animation: in regression, one run per group, if they fit side by side."""
    groups = section.measured if section.measure.has_fits else []
    return {g.label: g.complete[0].fits() for g in groups} if len(groups) <= 4 else {}
