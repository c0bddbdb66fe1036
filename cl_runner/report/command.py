"""`cl-report FOLDER...`: reports on the runs below the folders, as a page, tables and figures."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from cl_runner import terminal
from cl_runner.report import best
from cl_runner.report.compare.comparisons import Asked, compare
from cl_runner.report.compare.conclusions import conclusions
from cl_runner.report.compare.groups import Section
from cl_runner.report.compare.runs import printable, read
from cl_runner.report.compare.sorting import sections
from cl_runner.report.paper import command as paper
from cl_runner.report.render import (
    animation,
    drawings,
    figures,
    formats,
    ranking,
    settings_table,
    strategy_panels,
    tables,
)
from cl_runner.report.render.drawings import Drawing
from cl_runner.report.render.looks import Looks
from cl_runner.report.render.page import Chapter, Choice, Page
from cl_runner.report.render.reasons import why
from cl_runner.report.suites import OfSuite
from cl_runner.run_folder.files import make, refuse_links, write
from cl_runner.run_folder.plain import Damaged
from cl_runner.text import aligned, counted, harmless

ALIAS = "--to-wandb"
PAGE = "report.html"


def main() -> None:
    """Print the results and conclusions, then where the page is."""
    if ALIAS in sys.argv:
        sys.argv.remove(ALIAS)
        from cl_runner.wandb_mirror import command as wandb

        wandb.main()
        return
    parser = argparse.ArgumentParser(prog="cl-report", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--output", type=Path, help="instead of FOLDER/report")
    parser.add_argument(
        "--baseline",
        metavar="NAME",
        help="compare every strategy with this one (default: finetune, else the best)",
    )
    parser.add_argument(
        "--method",
        metavar="NAME",
        help="compare this strategy with every other, or only with the one of --baseline",
    )
    parser.add_argument(
        "--margin",
        type=float,
        metavar="POINTS",
        help="smaller differences do not matter: say what is equivalent within ±POINTS (in "
        "regression: percent of the error)",
    )
    parser.add_argument(ALIAS, action="store_true", help="run cl-wandb instead")
    paper.add_options(parser)
    terminal.run(parser, _print_report)


def _print_report(arguments: argparse.Namespace) -> None:
    folders = arguments.folders
    wanted = paper.Wanted.of(arguments)
    if wanted is not None:
        text, files = paper.table(folders, arguments.output or folders[0] / "report", wanted)
        print(harmless("\n".join([text, *map(str, files)])))
        return
    asked = Asked(arguments.baseline, arguments.method, arguments.margin)
    output = arguments.output or folders[0] / "report"
    lines, files = report(folders, output, asked)
    rest = f"tables and figures: {counted(len(files) - 1, 'file')} in {output}"
    print(harmless("\n".join([*lines, rest, f"page: {output / PAGE}"])))


def report(
    folders: Sequence[Path], output: Path, asked: Asked | None = None
) -> tuple[list[str], list[Path]]:
    """Write `report.html`, tables, figures and, if data was held out, `best/experiment/best.yaml`.
    Returns lines for the terminal, and the files. Raises ConfigError if there is no run or none
    with a name that was asked for, and StorageError if a symbolic link would lead the files
    elsewhere."""
    asked = asked or Asked()
    runs = read(folders)
    suite, lines = None, list[str]()
    try:
        suite = OfSuite.read(folders)
    except Damaged as damaged:  # its runs are reported anyway
        lines = [str(damaged), ""]
    streams = sections(runs, suite.labels(runs) if suite else None)
    asked.check(streams)
    refuse_links(output, *output.rglob("*"))
    make(output)
    looks = Looks.of_sections(streams, suite.strategies(runs) if suite else None)
    of_suite = list(suite.drawings(runs, looks)) if suite else []
    files = _save(of_suite, output)
    chapters = []
    for number, section in enumerate(streams, start=1):
        where = output if len(streams) == 1 else output / f"stream_{number}"
        drawn = [] if suite else list(drawings.of_section(section, looks))
        chapter, written = _chapter(section, where, drawn, asked)
        brief = tables.results(section, in_short=True)
        table = aligned(brief.columns, [[cell.text for cell in row] for row in brief.rows])
        lines += [section.title, *chapter.sentences, "", table, ""]
        chapters.append(chapter)
        files += written
    title = ", ".join(printable(folder.resolve().name) for folder in folders)
    states = ", ".join(f"{n} {state}" for state, n in Counter(run.state for run in runs).items())
    counts = f"{counted(len(runs), 'run')}: {states}."
    verdict, unjudged = (suite.verdict, suite.unjudged) if suite else ([], [])
    page = Page(title, counts, chapters, verdict, unjudged, of_suite, looks)
    every = [
        *page.verdict,
        *page.unjudged,
        *(table for chapter in chapters for table in chapter.tables),
    ]
    texts = {
        PAGE: page.render(),
        "results.md": formats.markdown_page(page),
        "results.tex": "\n".join(map(formats.latex, every)),
        "results.csv": formats.results_csv(streams),
        "runs.csv": formats.runs_csv(streams),
    }
    if forgetting := formats.forgetting_csv(chapters):
        texts["forgetting.csv"] = forgetting
    for name, text in texts.items():
        write(output / name, text)
    return lines, [*(output / name for name in texts), *files]


def _chapter(
    section: Section, output: Path, drawn: Sequence[Drawing], asked: Asked
) -> tuple[Chapter, list[Path]]:
    """The chapter of a section, and the files of its figures and its best setting, now written."""
    compared = compare(section, asked)
    files = _save(drawn, output)
    panels = drawings.moving(section)
    if panels:
        files += animation.save(panels, output / "figures")
    reasons = why(section)
    files += _save(reasons.figures, output)
    choice, written = _choice(section, output)
    files += written
    blocks = strategy_panels.blocks(section)
    files += strategy_panels.save(blocks, output / "figures")
    open_tables = [tables.results(section)]
    if compared.made:
        open_tables.append(ranking.table(section, compared))
    sensitivity = tables.sensitivity(section)
    if sensitivity.rows:
        open_tables.append(sensitivity)
    details = [
        settings_table.settings,
        tables.costs,
        tables.conventions,
        tables.definitions,
        tables.runs,
    ]
    chapter = Chapter(
        title=section.title,
        trained=settings_table.in_short(section),
        sentences=conclusions(section, compared, asked),
        tables=open_tables,
        figures=drawn,
        blocks=blocks,
        details=[*reasons.details, *(table(section) for table in details)],
        moving=animation.moving(panels) if panels else None,
        choice=choice,
        why=reasons,
    )
    return chapter, files


def _save(drawn: Sequence[Drawing], output: Path) -> list[Path]:
    folder = output / "figures"
    return [file for one in drawn for file in figures.save(one.figure, folder, one.name)]


def _choice(section: Section, output: Path) -> tuple[Choice | None, list[Path]]:
    """The setting chosen on validation data, if any, and its file, now written."""
    group = section.chosen(section.measured)
    if group is None:
        return None, []
    value = section.measure.unit.text(group.validation.mean)
    seeds = counted(group.validation.n, "seed")
    settings = counted(len(section.eligible(section.measured)), "setting")
    why = (
        f"{group.label} is best on validation data after the last task: {section.measure.label}, "
        f"mean over tasks and {seeds}, {value} ({settings} compared)."
    )
    folder = best.write_best(group.complete[0], output)
    command, remarks = best.command(folder, group.complete[0])
    return Choice(why + remarks, command), [folder / "experiment" / f"{best.NAME}.yaml"]


if __name__ == "__main__":
    main()
