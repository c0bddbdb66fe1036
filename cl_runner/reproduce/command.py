"""`cl-reproduce`: run a suite with all seeds, print the verdict, exit 1 if a row is outside."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cl_runner import terminal
from cl_runner.config import hydra_loader as loader
from cl_runner.config import masking, search_path
from cl_runner.config.command_line import check_count
from cl_runner.config.masking import shown
from cl_runner.config.overrides import key_of
from cl_runner.config.traits import traits
from cl_runner.errors import ConfigError
from cl_runner.jobs import engine
from cl_runner.jobs.countdown import Countdown
from cl_runner.jobs.job import Job, digest_of
from cl_runner.reproduce import page, page_files, runs
from cl_runner.reproduce import suite as suites
from cl_runner.reproduce.kept_numbers import RunsMeasured, measured
from cl_runner.reproduce.overview import write_overview
from cl_runner.reproduce.suite import Suite
from cl_runner.reproduce.verdict import Verdict, as_json, good, judge, plain
from cl_runner.run_folder import files as storage
from cl_runner.run_folder.outcome import Results
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
    if arguments.jobs is not None:
        check_count("--jobs", arguments.jobs)
    asked = _asked(arguments)
    whole, changes = asked.whole, asked.changes
    folder: Path | None = arguments.page
    if folder is not None:
        page_files.check(folder, whole, asked.suite, changes)
    now = measured(asked.suite, changes, _run(asked, arguments.jobs))
    verdicts = judge(asked.suite, now, len(whole.seeds))
    print(f"\n{plain(verdicts, everything=arguments.all)}\n")
    _write(asked, verdicts, now)
    if folder is not None:
        print(f"page: {page_files.add(folder, whole, asked.typed, now)}")
    return int(not good(verdicts))


@dataclass(frozen=True)
class Asked:
    """What the command line asks for."""

    whole: Suite
    suite: Suite  # its runs and seeds of this call
    launching: Sequence[str]
    given: Sequence[str]  # the other settings
    changes: Sequence[str]  # those of them that change results
    typed: Sequence[str]  # what else gives the same numbers
    some: Sequence[str]  # what chooses among the runs
    folder: Path
    config_dir: Path | None


def _asked(arguments: argparse.Namespace) -> Asked:
    """Raises ConfigError for an unknown suite or run, and for a setting that a suite sets."""
    own = arguments.name.endswith((".yaml", ".yml"))
    whole = suites.own(Path(arguments.name)) if own else suites.read(arguments.name)
    suite = replace(whole, seeds=arguments.seeds) if arguments.seeds else whole
    suite = suite.with_runs(arguments.only, arguments.skip)
    _refuse_settings_of_the_suite(arguments.overrides)
    launching = engine.of_the_launcher(arguments.overrides)
    given = [word for word in arguments.overrides if word not in launching]
    changes = [o for o in shown(given) if traits(key_of(o)).changes_results]
    typed = [*changes, *(o for o in given if key_of(o) == "trusted_targets")]
    some = [*flags("--only", arguments.only), *flags("--skip", arguments.skip)]
    folder = arguments.output / suite.name
    if changes:  # not the suite itself, so not its folder
        folder = folder / digest_of(changes)
    config_dir = search_path.checked(arguments.config_dir)
    if config_dir is not None:
        typed += flags(search_path.FLAG, [str(arguments.config_dir)])
    return Asked(whole, suite, launching, given, changes, typed, some, folder, config_dir)


def _run(asked: Asked, at_a_time: int | None) -> dict[tuple[str, int], Results | None]:
    jobs = runs.jobs_of(asked.suite, asked.folder, asked.given)
    with (
        engine.chosen(asked.launching, asked.config_dir, at_a_time) as chosen,
        Countdown(len(jobs), at_a_time or os.cpu_count() or 1, "run") as countdown,
    ):
        if chosen is None:
            ended = runs.here(jobs, countdown, asked.config_dir)
        else:
            ended = runs.on_launcher(chosen, jobs, asked.folder, countdown)
        return _reported(ended, countdown)


def _write(asked: Asked, verdicts: Sequence[Verdict], now: RunsMeasured) -> None:
    """The verdict as Markdown and as JSON; of a suite that is not ours also a copy."""
    suite, folder = asked.suite, asked.folder
    storage.make(folder)
    if suite.file is not None:  # `cl-report` takes names and figures from it
        storage.write(folder / suites.COPY, suite.file.read_text("utf-8"))
    text = page.markdown(suite, [*asked.typed, *asked.some], verdicts, now)
    storage.write(folder / "verdict.md", text)
    judged = as_json(suite, asked.changes, verdicts)
    storage.write(folder / "verdict.json", json.dumps(judged, indent=1))
    print(f"written to {folder}/verdict.md and verdict.json")
    print(f"page: cl-report {shlex.quote(str(folder))}")


def flags(name: str, values: Sequence[str]) -> list[str]:
    """A repeated flag, as on the command line."""
    return [f"{name} {shlex.quote(value)}" for value in values]


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
