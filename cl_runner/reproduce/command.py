"""`cl-reproduce`: run a suite with all seeds, print the verdict, exit 1 if a row is outside."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from cl_runner import terminal
from cl_runner.config import hydra_loader as loader
from cl_runner.config import masking, search_path
from cl_runner.config.masking import shown
from cl_runner.config.overrides import key_of
from cl_runner.config.traits import traits
from cl_runner.errors import ConfigError
from cl_runner.jobs import engine
from cl_runner.jobs.countdown import Countdown
from cl_runner.jobs.job import Job, digest_of
from cl_runner.reproduce import measured as measures
from cl_runner.reproduce import page, runs
from cl_runner.reproduce import suite as suites
from cl_runner.reproduce.measured import Runs
from cl_runner.reproduce.overview import write_overview
from cl_runner.reproduce.suite import Suite
from cl_runner.reproduce.verdict import as_json, good, judge, plain
from cl_runner.run_folder import files as storage
from cl_runner.run_folder.outcome import Results
from cl_runner.run_folder.schemas import Judgement
from cl_runner.text import aligned

PAGES = Path("docs/results")


def main() -> None:
    """`cl-reproduce NAME`. `--list` lists the suites."""
    parser = argparse.ArgumentParser(prog="cl-reproduce", description=__doc__)
    parser.add_argument("name", nargs="?", metavar="NAME", help="the suite, or its YAML file")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings of all runs")
    parser.add_argument("--list", action="store_true", help="list the suites and their time")
    parser.add_argument("--seeds", type=seeds, help="such as 0,1,2; replaces the suite's own")
    parser.add_argument(
        "--only", action="append", default=[], metavar="RUN",
        help="only runs with such a name: 'EWC*'; may be given more than once",
    )  # fmt: skip
    parser.add_argument(
        "--skip", action="append", default=[], metavar="RUN", help="no run with such a name: 'GEM*'"
    )
    parser.add_argument("--jobs", type=int, help="runs at a time on this machine; default: cores")
    parser.add_argument(search_path.FLAG, "-cd", type=Path, help=search_path.HELP)
    parser.add_argument("--all", action="store_true", help="show rows without a published number")
    parser.add_argument(
        "--page", type=Path, nargs="?", const=PAGES, metavar="FOLDER",
        help=f"also write the suite's page and its figure; without NAME, the overview of the"
        f" pages there; default: {PAGES}",
    )  # fmt: skip
    parser.add_argument("--output", type=Path, default=Path("outputs/reproduce"))
    terminal.run(parser, _reproduce_masked, "run the same command to continue")


def _reproduce_masked(arguments: argparse.Namespace) -> int:
    loader.install()
    with masking.hiding_secrets_of(arguments.overrides):
        return reproduce(arguments)


def seeds(text: str) -> list[int]:
    """`0,1,2`. Raises ValueError for what is not, or has a seed twice."""
    given = [int(part) for part in text.split(",")]
    if len(set(given)) < len(given):
        raise ValueError
    return given


def listing() -> str:
    """Name, runs, minutes on two cores and title of each suite."""
    every = []
    for name in suites.names():
        try:
            every.append(suites.read(name))
        except ConfigError as error:  # of a plugin's
            print(error, file=sys.stderr)
    rows = [[s.name, s.title, str(len(s.runs) * len(s.seeds)), str(s.minutes)] for s in every]
    return aligned(["suite", "what", "runs", "minutes"], rows)


def reproduce(arguments: argparse.Namespace) -> int:
    """Run, judge, print, write verdict.md and verdict.json. Returns 1 unless all rows are good."""
    if arguments.name is None and arguments.page is not None:
        print(f"page: {write_overview(arguments.page)}")
        return 0
    if arguments.list or arguments.name is None:
        print(listing())
        return 0
    own = arguments.name.endswith((".yaml", ".yml"))
    suite = suites.own(Path(arguments.name)) if own else suites.read(arguments.name)
    whole, wanted = suite, len(suite.seeds)
    if arguments.seeds:
        suite = replace(suite, seeds=arguments.seeds)
    suite = suite.with_runs(arguments.only, arguments.skip)
    if arguments.jobs is not None and arguments.jobs < 1:
        raise ConfigError.of("--jobs", arguments.jobs, "must be an integer ≥ 1")
    _refuse_settings_of_the_suite(arguments.overrides)
    launching = engine.of_the_launcher(arguments.overrides)
    given = [word for word in arguments.overrides if word not in launching]
    changes = [o for o in shown(given) if traits(key_of(o)).changes_results]
    needed = [o for o in given if key_of(o) == "trusted_targets"]
    typed = [*changes, *needed]
    some = [*flags("--only", arguments.only), *flags("--skip", arguments.skip)]
    folder = arguments.output / suite.name
    if changes:  # not the suite itself, so not its folder
        folder = folder / digest_of(changes)
    config_dir = search_path.checked(arguments.config_dir)
    if config_dir is not None:
        typed += flags(search_path.FLAG, [str(arguments.config_dir)])
    jobs = runs.jobs_of(suite, folder, given)
    at_a_time = arguments.jobs or os.cpu_count() or 1
    with (
        engine.chosen(launching, config_dir, arguments.jobs) as chosen,
        Countdown(len(jobs), at_a_time, "run") as countdown,
    ):
        if chosen is None:
            ended = runs.here(jobs, countdown, config_dir)
        else:
            ended = runs.on_launcher(chosen, jobs, folder, countdown)
        results = _reported(ended, countdown)
    measured = measures.measured(suite, changes, results)
    verdicts = judge(suite, measured, wanted)
    print(f"\n{plain(verdicts, everything=arguments.all)}\n")
    storage.make(folder)
    if suite.file is not None:  # `cl-report` takes names and figures from it
        storage.write(folder / suites.COPY, suite.file.read_text("utf-8"))
    storage.write(folder / "verdict.md", page.markdown(suite, [*typed, *some], verdicts, measured))
    storage.write(folder / "verdict.json", json.dumps(as_json(suite, changes, verdicts), indent=1))
    print(f"written to {folder}/verdict.md and verdict.json")
    print(f"page: cl-report {shlex.quote(str(folder))}")
    if arguments.page is not None:
        print(f"page: {_page(arguments.page, whole, changes, typed, measured)}")
    return int(not good(verdicts))


def flags(name: str, values: Sequence[str]) -> list[str]:
    """A repeated flag, as on the command line."""
    return [f"{name} {shlex.quote(value)}" for value in values]


def _page(
    folder: Path, suite: Suite, changes: Sequence[str], typed: Sequence[str], now: Runs
) -> Path:
    """Write the suite's page, its figure if something was published, and the numbers of each run,
    to which those of earlier calls belong. Returns the page's file."""
    from cl_runner.report.render.figures import svg
    from cl_runner.report.render.suite_figures import published_and_ours

    numbers, picture = f"numbers/{suite.name}.csv", f"figures/{suite.name}.svg"
    measured = measures.together(suite, measures.read(folder / numbers, suite, changes), now)
    verdicts = judge(suite, measured, len(suite.seeds))
    figure = published_and_ours(Judgement.model_validate(as_json(suite, [], verdicts)).rows)
    if figure is not None:
        storage.make(folder / "figures")
        storage.write(folder / picture, svg(figure))
    storage.make(folder / "numbers")
    storage.write(folder / numbers, measures.text(measured))
    file, shown = folder / f"{suite.name}.md", None if figure is None else picture
    storage.write(file, page.markdown(suite, typed, verdicts, measured, shown, numbers))
    return file


def _reported(
    ended: Iterator[tuple[Job, runs.Ended]], countdown: Countdown
) -> dict[tuple[str, int], Results | None]:
    """The results of each run with each seed. Prints a line for each that is new. Raises RunError
    for a mistake that all runs share."""
    results: dict[tuple[str, int], Results | None] = {}
    outcomes = []
    for job, (result, outcome) in ended:
        run, seed = job.varied["run"], job.varied["seed"]
        results[run, int(seed)] = result
        outcomes.append(outcome)
        if outcome != runs.COMPLETE_BEFORE or job.folder not in countdown.before:
            complete = result is not None and not outcome.startswith(runs.SAME)
            countdown.ended(job.folder, runs.label(job), outcome, complete=complete)
    runs.refuse_a_shared_mistake(outcomes)
    return results


def _refuse_settings_of_the_suite(given: Sequence[str]) -> None:
    """Raise ConfigError for a setting that the suite itself gives to each run."""
    for override in given:
        key, value = key_of(override), override.partition("=")[2]
        if key == "seed":
            raise ConfigError.of(key, value, "is set for each run", "--seeds 0,1,2")
        if key in ("output_root", "name", "resume", "plan"):
            raise ConfigError.of(key, value, "is set for each run", "--output FOLDER")


if __name__ == "__main__":
    main()
