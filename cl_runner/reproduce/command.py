"""`cl-reproduce`: run a suite with all its seeds, print the verdict, exit 1 if a row is outside."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from tempfile import TemporaryDirectory

from cl_runner import terminal
from cl_runner.config.command_line import quoted
from cl_runner.config.masking import shown
from cl_runner.config.overrides import key_of
from cl_runner.config.traits import traits
from cl_runner.errors import ConfigError
from cl_runner.jobs.child import Child, complaint
from cl_runner.reproduce import suite as suites
from cl_runner.reproduce.suite import Suite
from cl_runner.reproduce.verdict import as_json, good, judge, markdown, plain
from cl_runner.run_folder import files as storage
from cl_runner.run_folder import read
from cl_runner.run_folder.outcome import Results
from cl_runner.run_folder.plain import Damaged
from cl_runner.text import aligned

Job = tuple[str, int]  # a run and a seed


def main() -> None:
    """`cl-reproduce NAME`; `--list` names the suites."""
    parser = argparse.ArgumentParser(prog="cl-reproduce", description=__doc__)
    parser.add_argument("name", nargs="?", metavar="NAME", help="the suite")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings of all runs")
    parser.add_argument("--list", action="store_true", help="the suites, with the time they take")
    parser.add_argument("--seeds", type=_integers, help="such as 0,1,2: instead of the suite's own")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at a time")
    parser.add_argument("--output", type=Path, default=Path("outputs/reproduce"))
    with terminal.command("the same command goes on"):
        arguments = parser.parse_intermixed_args()
        os.environ["OMP_NUM_THREADS"] = "1"  # of every run
        if arguments.list or arguments.name is None:
            print(listing())
            return
        sys.exit(not reproduce(arguments))


def _integers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def listing() -> str:
    """Name, runs, minutes on two cores and title of each suite."""
    found = [suites.read(name) for name in suites.names()]
    rows = [[s.name, s.title, str(len(s.runs) * len(s.seeds)), str(s.minutes)] for s in found]
    return aligned(["suite", "what", "runs", "minutes"], rows)


def reproduce(arguments: argparse.Namespace) -> bool:
    """Run, judge, print, write verdict.md and verdict.json; whether all rows are good."""
    suite = suites.read(arguments.name)
    if arguments.seeds:
        suite = Suite(**{**vars(suite), "seeds": arguments.seeds})
    if arguments.jobs < 1:
        raise ConfigError.of("--jobs", arguments.jobs, "must be an integer ≥ 1")
    changes = [o for o in shown(arguments.overrides) if traits(key_of(o)).changes_results]
    folder = arguments.output / suite.name
    if changes:  # are no runs of the suite itself
        folder = folder / hashlib.sha256(repr(sorted(changes)).encode()).hexdigest()[:8]
    results = run_all(suite, folder, arguments.overrides, arguments.jobs)
    verdicts = judge(
        suite, {job: None if r is None else r.document() for job, r in results.items()}
    )
    print(plain(verdicts))
    environment = next((r.environment for r in results.values() if r is not None), None)
    storage.make(folder)
    storage.write(folder / "verdict.md", markdown(suite, changes, verdicts, environment))
    storage.write(folder / "verdict.json", json.dumps(as_json(suite, changes, verdicts), indent=1))
    print(f"written to {folder}/verdict.md and verdict.json; figures: cl-report {folder}")
    return good(verdicts)


def run_all(
    suite: Suite, folder: Path, overrides: Sequence[str], jobs: int
) -> dict[Job, Results | None]:
    """The results of every run with every seed; what is complete is only read. One line per run."""
    # Run by run: those of several seeds do not wait for each other's first task.
    todo = [(run, seed) for run in suite.runs for seed in suite.seeds]
    results: dict[Job, Results | None] = {}
    with ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(run_one, suite, folder, overrides, job): job for job in todo}
        try:
            for number, future in enumerate(as_completed(futures), start=1):
                job = futures[future]
                results[job], told = future.result()
                print(f"[{number}/{len(todo)}] {job[0]}, seed {job[1]}: {told}", flush=True)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)  # those under way save and end, none is begun
            raise
    return results


def run_one(
    suite: Suite, parent: Path, overrides: Sequence[str], job: Job
) -> tuple[Results | None, str]:
    """Start or continue one run in a process with one thread; its results and a word on it."""
    run, seed = job
    name = suite.folder_name(run, seed)
    place = [f"output_root={quoted(parent)}", f"name={quoted(name)}", "resume=auto"]
    shared = f"first_task_cache={quoted(parent / 'first_tasks')}"
    words = [*suite.common, *suite.runs[run], f"seed={seed}", "threads=1", shared]
    with TemporaryDirectory() as told:
        code = Child([*words, *overrides, *place], Path(told)).wait()
        if code != 0:
            return None, f"failed with exit code {code}: {complaint(Path(told))}"
        printed = (Path(told) / "stdout").read_text("utf-8")
    complete = Path(printed.strip().splitlines()[-1].partition("run folder: ")[2])
    try:
        results = read.results(complete)
    except Damaged as damaged:
        return None, str(damaged)
    again = printed.startswith("already complete")
    return results, "already complete" if again else f"{results.cost.seconds:.0f} s"


if __name__ == "__main__":
    main()
