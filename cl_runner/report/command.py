"""`cl-report FOLDER...`: what the runs below the folders say, as a page, tables and figures."""

from __future__ import annotations

import argparse
import importlib
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from cl_runner import terminal
from cl_runner.report import best
from cl_runner.report.compare.groups import Section
from cl_runner.report.compare.ranking import rank
from cl_runner.report.compare.runs import Run, printable, read
from cl_runner.report.compare.sorting import sections
from cl_runner.report.render import animation, drawings, figures, formats, tables
from cl_runner.report.render.drawings import Drawing
from cl_runner.report.render.page import Best, Page, Part, Picture, frames, inline
from cl_runner.report.render.tables import Table
from cl_runner.report.suites import OfSuite
from cl_runner.run_folder.files import make, refuse_links, write
from cl_runner.run_folder.plain import Damaged
from cl_runner.text import aligned, harmless, number

ALIAS = "--to-wandb"


def main() -> None:
    """Print the results and what can be concluded, then the files that were written."""
    if ALIAS in sys.argv:
        sys.argv.remove(ALIAS)
        importlib.import_module("cl_runner.wandb_mirror.command").main()  # a command, by its name
        return
    parser = argparse.ArgumentParser(prog="cl-report", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--output", type=Path, help="instead of FOLDER/report")
    parser.add_argument(ALIAS, action="store_true", help="another name of the command cl-wandb")
    terminal.run(parser, _print_report)


def _print_report(arguments: argparse.Namespace) -> None:
    folders = arguments.folders
    lines, files = report(folders, arguments.output or folders[0] / "report")
    print(harmless("\n".join([*lines, *map(str, files)])))


def report(folders: Sequence[Path], output: Path) -> tuple[list[str], list[Path]]:
    """Write what these runs say: `report.html`, tables, figures and, where data was held out,
    `best/experiment/best.yaml`. Returns what a terminal should show, and the files. Raises
    ConfigError if there is no run, StorageError if the files would be elsewhere, behind a link."""
    runs = read(folders)
    suite, told = None, list[str]()
    try:
        suite = OfSuite.read(folders)
    except Damaged as damaged:  # its runs are reported all the same
        told = [str(damaged), ""]
    found = sections(runs, suite.labels(runs) if suite else None)
    refuse_links(output, *output.rglob("*"))
    make(output)
    pictures, files = _draw(suite.drawings(runs) if suite else [], output)
    parts = []
    for place, section in enumerate(found, start=1):
        where = output if len(found) == 1 else output / f"stream_{place}"
        part, written = _part(section, where, [] if suite else drawings.of_section(section))
        brief = _plain(tables.results(section, brief=True))
        told += [section.title, *part.sentences, "", brief, ""]
        parts.append(part)
        files += written
    title = ", ".join(printable(folder.resolve().name) for folder in folders)
    page = Page(title, _counts(runs), parts, [suite.verdict] if suite else [], pictures)
    every = [*page.verdict, *(table for part in parts for table in part.tables)]
    texts = {
        "report.html": page.render(),
        "results.md": formats.markdown_page(page),
        "results.tex": "\n".join(map(formats.latex, every)),
        "results.csv": formats.results_csv(found),
        "runs.csv": formats.runs_csv(found),
    }
    for name, text in texts.items():
        write(output / name, text)
    return told, [*(output / name for name in texts), *files]


def _part(section: Section, output: Path, wanted: Iterable[Drawing]) -> tuple[Part, list[Path]]:
    """A section's part of the page; its figures and its best setting are written."""
    ranking = rank(section)
    pictures, files = _draw(wanted, output)
    panels = drawings.moving(section)
    if panels:
        files += animation.save(panels, output / "figures")
    chosen = _best(section, output)
    files += [chosen[0]] if chosen else []
    shown = [tables.results(section)]
    if len(ranking.places) > 1:
        shown.append(tables.ranking(section, ranking))
    sensitive = tables.sensitivity(section)
    shown += [sensitive] if sensitive.rows else []
    details = [tables.costs, tables.conventions, tables.definitions, tables.runs]
    part = Part(
        title=section.title,
        sentences=ranking.sentences,
        tables=shown,
        figures=pictures,
        details=[table(section) for table in details],
        frames=frames(output / "figures" / animation.NAME) if panels else (),
        best=chosen[1] if chosen else None,
    )
    return part, files


def _draw(wanted: Iterable[Drawing], output: Path) -> tuple[list[Picture], list[Path]]:
    """Each figure for the page, and as SVG and PDF."""
    pictures, files = [], []
    for drawing in wanted:
        files += figures.save(drawing.figure, output / "figures", drawing.name)
        pictures.append(inline(drawing.figure, drawing.name, drawing.caption))
    return pictures, files


def _best(section: Section, output: Path) -> tuple[Path, Best] | None:
    """The setting chosen on validation data, as a file and as the page tells it."""
    group = section.chosen(section.measured)
    if group is None:
        return None
    value = number(group.validation.mean, section.metric)
    seeds = "1 seed" if group.validation.n == 1 else f"{group.validation.n} seeds"
    among = len(section.eligible(section.measured))
    compared = "1 setting" if among == 1 else f"{among} settings"
    measure = "mean squared error" if section.regression else "accuracy in %"
    why = (
        f"{group.label} is best on validation data after the last task: {measure}, mean over tasks "
        f"and {seeds}, {value} ({compared} compared)."
    )
    folder = best.write_best(group.complete[0], output)
    command = f"cl-train --config-dir {shlex.quote(str(folder))} experiment={best.NAME}"
    return folder / "experiment" / f"{best.NAME}.yaml", Best(why, command)


def _counts(runs: Sequence[Run]) -> str:
    states = [run.state for run in runs]
    told = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    return f"{len(runs)} run{'s' * (len(runs) != 1)}: {', '.join(told)}."


def _plain(table: Table) -> str:
    """For a terminal."""
    return aligned(table.columns, [[cell.text for cell in row] for row in table.rows])


if __name__ == "__main__":
    main()
