"""`cl-reproduce`: run a suite with all seeds, print the verdict, exit 1 if a row is outside."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from cl_runner import terminal
from cl_runner.config import hydra_loader as loader
from cl_runner.config import masking, search_path
from cl_runner.config.command_line import quoted
from cl_runner.config.masking import shown
from cl_runner.config.overrides import key_of
from cl_runner.config.traits import traits
from cl_runner.errors import ConfigError
from cl_runner.jobs import engine
from cl_runner.jobs.job import FIRST_TASKS, Job, command, digest_of
from cl_runner.jobs.launch import Children, side_by_side
from cl_runner.reproduce import suite as suites
from cl_runner.reproduce.on_launcher import run_on
from cl_runner.reproduce.suite import Suite
from cl_runner.reproduce.verdict import as_json, good, judge, markdown, plain
from cl_runner.run_folder import files as storage
from cl_runner.run_folder import read
from cl_runner.run_folder.outcome import Results
from cl_runner.run_folder.plain import Damaged
from cl_runner.text import aligned


def main() -> None:
    """`cl-reproduce NAME`. `--list` lists the suites."""
    parser = argparse.ArgumentParser(prog="cl-reproduce", description=__doc__)
    parser.add_argument("name", nargs="?", metavar="NAME", help="the suite, or a YAML file")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings of all runs")
    parser.add_argument("--list", action="store_true", help="list the suites and their time")
    parser.add_argument("--seeds", type=_integers, help="such as 0,1,2; replaces the suite's own")
    parser.add_argument("--jobs", type=int, help="runs at a time on this machine; default: cores")
    parser.add_argument(search_path.FLAG, "-cd", type=Path, help=search_path.HELP)
    parser.add_argument("--output", type=Path, default=Path("outputs/reproduce"))
    terminal.run(parser, _reproduce_masked, "run the same command to continue")


def _reproduce_masked(arguments: argparse.Namespace) -> int:
    loader.install()
    with masking.hiding_secrets_of(arguments.overrides):
        return reproduce(arguments)


def _integers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def listing() -> str:
    """Name, runs, minutes on two cores and title of each suite."""
    every = [suites.read(name) for name in suites.names()]
    rows = [[s.name, s.title, str(len(s.runs) * len(s.seeds)), str(s.minutes)] for s in every]
    return aligned(["suite", "what", "runs", "minutes"], rows)


def reproduce(arguments: argparse.Namespace) -> int:
    """Run, judge, print, write verdict.md and verdict.json. Returns 1 unless all rows are good."""
    if arguments.list or arguments.name is None:
        print(listing())
        return 0
    suite = suites.read(arguments.name)
    if arguments.seeds:
        suite = replace(suite, seeds=arguments.seeds)
    if arguments.jobs is not None and arguments.jobs < 1:
        raise ConfigError.of("--jobs", arguments.jobs, "must be an integer ≥ 1")
    launching = engine.of_the_launcher(arguments.overrides)
    given = [word for word in arguments.overrides if word not in launching]
    changes = [o for o in shown(given) if traits(key_of(o)).changes_results]
    folder = arguments.output / suite.name
    if changes:  # not the suite itself, so not its folder
        folder = folder / digest_of(changes)
    config_dir = search_path.checked(arguments.config_dir)
    results: dict[tuple[str, int], Results | None] = {}
    with engine.chosen(launching, config_dir, arguments.jobs) as chosen:
        if chosen is None:
            given = [*search_path.words(config_dir), *given]
        jobs = [job_of(suite, folder, given, r, s) for r in suite.runs for s in suite.seeds]
        ended = (
            here(jobs, arguments.jobs or os.cpu_count() or 1)
            if chosen is None
            else run_on(chosen, jobs, folder)
        )
        for job, result, outcome in ended:
            run, seed = job.varied["run"], job.varied["seed"]
            results[run, int(seed)] = result
            print(f"[{len(results)}/{len(jobs)}] {run}, seed {seed}: {outcome}", flush=True)
    documents = {run: None if r is None else r.document() for run, r in results.items()}
    verdicts = judge(suite, documents)
    print(plain(verdicts))
    environment = next((r.environment for r in results.values() if r is not None), None)
    storage.make(folder)
    if suite.file is not None:  # which `cl-report` then asks for names and figures
        storage.write(folder / suites.COPY, suite.file.read_text("utf-8"))
    storage.write(folder / "verdict.md", markdown(suite, changes, verdicts, environment))
    storage.write(folder / "verdict.json", json.dumps(as_json(suite, changes, verdicts), indent=1))
    print(f"written to {folder}/verdict.md and verdict.json; figures: cl-report {folder}")
    return int(not good(verdicts))


def here(jobs: Sequence[Job], at_a_time: int) -> Iterator[tuple[Job, Results | None, str]]:
    """Run them in child processes; complete ones are only read. Yields each as it ends, with its
    results, None if it failed, and how it ended."""
    for job, (result, outcome) in side_by_side(iter(jobs), run_one, at_a_time):
        yield job, result, outcome


def job_of(suite: Suite, folder: Path, overrides: Sequence[str], run: str, seed: int) -> Job:
    """One run with one seed and one thread, in the suite's folder."""
    shared = f"first_task_cache={quoted(folder / FIRST_TASKS)}"
    words = [*suite.common, *suite.runs[run], f"seed={seed}", "threads=1", shared, *overrides]
    return Job(folder / suite.folder_name(run, seed), {"run": run, "seed": str(seed)}, words)


def run_one(job: Job, children: Children) -> tuple[Results | None, str]:
    """Start or continue a run. Returns its results, None if it failed, and how it ended."""
    ended = children.run(command(job, {}))
    if ended.code != 0:
        return None, f"failed with exit code {ended.code}: {ended.complaint}"
    # A run with equal settings may have another name.
    folder = Path(ended.printed.strip().splitlines()[-1].partition("run folder: ")[2])
    try:
        results = read.results(folder)
    except Damaged as damaged:
        return None, str(damaged)
    again = ended.printed.startswith("already complete")
    return results, "already complete" if again else f"{results.cost.seconds:.0f} s"


if __name__ == "__main__":
    main()
