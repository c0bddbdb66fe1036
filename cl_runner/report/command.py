"""`cl-report FOLDER...`: a table of the runs below the folders, their figures as SVG and PDF; with
`--to-wandb` instead their W&B runs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from cl_runner.errors import ConfigError, RunError
from cl_runner.report import animation, figures, to_wandb
from cl_runner.report.figures import Point
from cl_runner.report.runs import Run, groups, read
from cl_runner.report.table import comparison
from cl_runner.reproduce import suite as suites

Drawn = Iterator[tuple[str, Figure]]


def main() -> None:
    """Print the table, then the files that were written."""
    parser = argparse.ArgumentParser(prog="cl-report", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument(
        "--output", type=Path, help="instead of FOLDER/figures, of the first folder"
    )
    to_wandb.add_options(parser)
    arguments = parser.parse_args()
    folders = arguments.folders
    try:
        if arguments.to_wandb:
            to_wandb.command(arguments)
            return
        print(comparison(folders))
        for file in report(folders, arguments.output or folders[0] / "figures"):
            print(file)
    except RunError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


def report(folders: Sequence[Path], output: Path) -> list[Path]:
    """Draw what there is to draw of these runs; returns the files."""
    runs = read(folders)
    written = []
    for name, figure in _figures(folders, runs):
        written += figures.save(figure, output, name)
    moving = [run for run in one_of_each(groups(runs)).values() if run.regression]
    if moving and len(moving) <= 4:
        panels = {run.results["strategy"]: run.predictions() for run in moving}
        written += animation.save(panels, output)
    return written


def _figures(folders: Sequence[Path], runs: Sequence[Run]) -> Drawn:
    verdict = folders[0] / "verdict.json"
    if len(folders) == 1 and verdict.is_file():
        suite = suites.read(json.loads(verdict.read_text())["suite"])
        yield from of_suite(suite, {run.folder.name: run for run in runs})
    elif len(runs) == 1:
        yield from of_one(runs[0])
    elif runs:
        yield from of_several(groups(runs))


def of_one(run: Run) -> Drawn:
    """The matrix; the course of training; in regression the fits."""
    yield f"{run.results['metrics_are_of']}_matrix", figures.accuracy_matrix(run.results)
    if run.results["accuracy_curve"] or run.results["mse_curve"]:
        yield "over_training", figures.over_training(run.results)
    if run.regression:
        yield "fits", figures.fits({run.results["strategy"]: run.predictions()})


def of_several(found: Mapping[str, Sequence[Run]]) -> Drawn:
    """Of groups of runs that differ in their seed alone."""
    kinds = {(run.regression, len(run.results["tasks"])) for runs in found.values() for run in runs}
    if len(kinds) > 1:
        raise ConfigError.of("FOLDER", len(kinds), "kinds of streams cannot share a figure")
    regression, tasks = kinds.pop()
    if regression:
        yield from _of_regression(one_of_each(found))
        return
    if tasks == 2:
        curves: dict[str, list[Point]] = {k: [("", _old_new(v))] for k, v in found.items()}
        yield "trade_off", figures.trade_off(curves)
    yield "over_tasks", figures.over_tasks({k: [r.results for r in v] for k, v in found.items()})


def of_suite(suite: suites.Suite, runs: Mapping[str, Run]) -> Drawn:
    """What the suite asks for; names of figures with what they show, in its own words."""

    def seeds(name: str) -> list[Run]:
        folders = [suite.folder_name(name, seed) for seed in suite.seeds]
        return [runs[folder] for folder in folders if folder in runs]

    for name, asked in suite.figures.items():
        if asked["kind"] == "trade_off":
            curves = {
                label: [(text, _old_new(seeds(run))) for run, text in points.items() if seeds(run)]
                for label, points in asked["curves"].items()
            }
            drawn = {label: points for label, points in curves.items() if points}
            yield name, figures.trade_off(drawn, asked["old"], asked["new"])
        elif asked["kind"] == "over_tasks":
            lines = {run: [r.results for r in seeds(run)] for run in asked["runs"] if seeds(run)}
            yield name, figures.over_tasks(lines)
        elif asked["kind"] == "over_training":
            yield name, figures.over_training(seeds(asked["run"])[0].results)
        else:
            chosen = {label: seeds(run) for label, run in asked["runs"].items()}
            for kind, figure in _of_regression(one_of_each(chosen)):
                yield f"{name}_{kind}", figure


def _of_regression(runs: Mapping[str, Run]) -> Drawn:
    yield "fits", figures.fits({label: run.predictions() for label, run in runs.items()})
    if all(run.results["mse_curve"] for run in runs.values()):
        results = {label: run.results for label, run in runs.items()}
        yield "errors_over_epochs", figures.errors_over_epochs(results)


def one_of_each(found: Mapping[str, Sequence[Run]]) -> dict[str, Run]:
    """The run with the first seed of each group."""
    return {label: runs[0] for label, runs in found.items() if runs}


def _old_new(runs: Sequence[Run]) -> list[tuple[float, float]]:
    """(first task, second task) after both, in percent, of each run."""
    rows: list[Any] = [run.results[run.results["metrics_are_of"]][1] for run in runs]
    return [(100 * row[0], 100 * row[1]) for row in rows]


if __name__ == "__main__":
    main()
