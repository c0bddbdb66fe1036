"""`cl-reproduce`: run a suite with all seeds, print the verdict, exit 1 if a row is outside."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cl_runner import terminal
from cl_runner.config.command_line import quoted
from cl_runner.config.masking import shown
from cl_runner.config.overrides import key_of
from cl_runner.config.traits import traits
from cl_runner.errors import ConfigError, DataError, RunError, StorageError
from cl_runner.jobs.job import FIRST_TASKS, Job, command, config_dir_flag, digest_of, plain_name
from cl_runner.jobs.launch import Children, side_by_side
from cl_runner.reproduce import suite as suites
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
    parser.add_argument("name", nargs="?", metavar="NAME", help="the suite, or its YAML file")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings of all runs")
    parser.add_argument("--list", action="store_true", help="list the suites and their time")
    parser.add_argument("--seeds", type=seeds, help="such as 0,1,2; replaces the suite's own")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at a time")
    parser.add_argument("--config-dir", type=Path, metavar="FOLDER", help="with your own options")
    parser.add_argument("--output", type=Path, default=Path("outputs/reproduce"))
    terminal.run(parser, reproduce, "run the same command to continue")


def seeds(text: str) -> list[int]:
    """`0,1,2`. Raises ValueError for what is not, or has a seed twice."""
    given = [int(part) for part in text.split(",")]
    if len(set(given)) < len(given):
        raise ValueError
    return given


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
    own = Path(arguments.name) if arguments.name.endswith((".yaml", ".yml")) else None
    suite = suites.read(arguments.name) if own is None else _own(own)
    if arguments.seeds:
        suite = replace(suite, seeds=arguments.seeds)
    if arguments.jobs < 1:
        raise ConfigError.of("--jobs", arguments.jobs, "must be an integer ≥ 1")
    _refuse_settings_of_the_suite(arguments.overrides)
    changes = [o for o in shown(arguments.overrides) if traits(key_of(o)).changes_results]
    folder = arguments.output / suite.name
    if changes:  # not the suite itself, so not its folder
        folder = folder / digest_of(changes)
    flags = config_dir_flag(arguments.config_dir)
    results = run_all(suite, folder, arguments.overrides, arguments.jobs, flags)
    documents = {run: None if r is None else r.document() for run, r in results.items()}
    verdicts = judge(suite, documents)
    print(plain(verdicts))
    environment = next((r.environment for r in results.values() if r is not None), None)
    storage.make(folder)
    if own is not None:
        storage.write(folder / suites.COPY, own.read_text("utf-8"))
    storage.write(folder / "verdict.md", markdown(suite, changes, verdicts, environment))
    storage.write(folder / "verdict.json", json.dumps(as_json(suite, changes, verdicts), indent=1))
    print(f"written to {folder}/verdict.md and verdict.json; figures: cl-report {folder}")
    return int(not good(verdicts))


def _own(file: Path) -> Suite:
    """The user's suite in this file, named after it."""
    name = plain_name(file.stem)
    if name in suites.names():
        hint = "give the file another name"
        raise ConfigError.of("NAME", file, f"there is a suite {name} already", hint)
    return suites.of_file(file, name)


def _refuse_settings_of_the_suite(given: Sequence[str]) -> None:
    """Raise ConfigError for a setting that the suite itself gives to each run."""
    for override in given:
        key, value = key_of(override), override.partition("=")[2]
        if key == "seed":
            raise ConfigError.of(key, value, "is set for each run", "--seeds 0,1,2")
        if key in ("output_root", "name", "resume", "plan"):
            raise ConfigError.of(key, value, "is set for each run", "--output FOLDER")


def run_all(
    suite: Suite,
    folder: Path,
    overrides: Sequence[str],
    at_a_time: int,
    flags: Sequence[str] = (),
) -> dict[tuple[str, int], Results | None]:
    """The results of each run with each seed; complete runs are only read. Prints one line per run.

    Raises RunError for a mistake that all runs share.
    """
    # All seeds of a run in a row: they do not wait for each other's first task.
    jobs = [
        job_of(suite, folder, overrides, run, seed, flags)
        for run in suite.runs
        for seed in suite.seeds
    ]
    results: dict[tuple[str, int], Results | None] = {}
    complaints = set()
    for job, (result, outcome) in side_by_side(iter(jobs), run_one, at_a_time):
        run, seed = job.varied["run"], job.varied["seed"]
        results[run, int(seed)] = result
        complaints.add(outcome)
        print(f"[{len(results)}/{len(jobs)}] {run}, seed {seed}: {outcome}", flush=True)
    mistake = complaints.pop().partition(MISTAKE)[2] if len(complaints) == 1 else ""
    if mistake:
        raise _error(mistake, ConfigError.exit_code)
    return results


def job_of(
    suite: Suite,
    folder: Path,
    overrides: Sequence[str],
    run: str,
    seed: int,
    flags: Sequence[str] = (),
) -> Job:
    """One run with one seed and one thread, in the suite's folder."""
    shared = f"first_task_cache={quoted(folder / FIRST_TASKS)}"
    words = [*suite.common, *suite.runs[run], f"seed={seed}", "threads=1", shared, *overrides]
    varied = {"run": run, "seed": str(seed)}
    return Job(folder / suite.folder_name(run, seed), varied, words, flags=flags)


MISTAKE = f"failed with exit code {ConfigError.exit_code}: "


def _error(complaint: str, code: int) -> RunError:
    error = RunError(complaint)
    error.exit_code = code
    return error


def run_one(job: Job, children: Children) -> tuple[Results | None, str]:
    """Start or continue a run. Returns its results, None if it failed, and how it ended."""
    ended = children.run(command(job, {}))
    if ended.code in (DataError.exit_code, StorageError.exit_code):  # every run would meet it
        raise _error(ended.complaint, ended.code)
    if ended.code != 0:
        return None, f"failed with exit code {ended.code}: {ended.complaint}"
    # A run with equal settings may have another name.
    printed = Path(ended.printed.strip().splitlines()[-1].partition("run folder: ")[2])
    folder = job.folder if (job.folder / "results.json").exists() else printed
    try:
        results = read.results(folder)
    except Damaged as damaged:
        return None, str(damaged)
    again = ended.printed.startswith("already complete")
    return results, "already complete" if again else f"{results.cost.seconds:.0f} s"


if __name__ == "__main__":
    main()
