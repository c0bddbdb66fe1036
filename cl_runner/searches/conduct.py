"""A whole search: its settings, its trials, its verdict, and the commands that come next."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from cl_runner.config import command_line, search_path
from cl_runner.config.overrides import key_of
from cl_runner.errors import RunError
from cl_runner.jobs import engine
from cl_runner.jobs.job import Job, digest_of, plain_name
from cl_runner.report import best
from cl_runner.report.compare import runs
from cl_runner.run_folder import changed_code, files
from cl_runner.run_folder.read import DONE
from cl_runner.searches import points, space, table
from cl_runner.searches.arguments import Arguments
from cl_runner.searches.batches import run_on
from cl_runner.searches.found import Found, Table
from cl_runner.searches.points import Point
from cl_runner.searches.search import Search
from cl_runner.searches.study import FILE, Study, kept_in


def conduct(arguments: Arguments) -> Found:
    """Search, and print the table of all trials. Raises RunError if none is complete."""
    config_dir = search_path.checked(arguments.config_dir)
    launching = engine.of_the_launcher(arguments.overrides)
    given = [word for word in arguments.overrides if word not in launching]
    searched = space.read(given, config_dir)
    first = points.all_checked(searched, arguments.name or "unnamed")
    name = arguments.name or f"{plain_name(first.title)}_{digest_of(searched.identity())}"
    folder = first.output_root / "searches" / name
    with ExitStack() as inside:
        launcher = inside.enter_context(engine.chosen(launching, config_dir, arguments.jobs))
        if launcher is not None:
            all_settings = Job(folder, {}, given)
            launcher.prepare(folder, [all_settings], idle=(folder / FILE).exists())
        inside.enter_context(files.locked(folder))
        inside.enter_context(kept_in(folder))
        study = Study(folder, searched, first.config["seed"])
        running = Search(folder, searched, study, first.masks)
        _warn_of_changed_code(running, first)
        try:
            if launcher is None:
                running.run(arguments.trials, arguments.jobs or os.cpu_count() or 1)
            else:
                run_on(launcher, running, arguments.trials)
        finally:
            every = table.of(study.trials(), list(searched.searched), first.measure)
            print(f"\n{every}\nsearch folder: {folder}", flush=True)
        return _found(running, first, every, given)


def _warn_of_changed_code(running: Search, first: Point) -> None:
    """If the user's own code is not that of the runs that are kept."""
    kept = ((job.folder, first.config) for job in running.jobs() if job.state == DONE)
    if other_code := changed_code.of_runs(kept, command_line.flag("name")):
        print(f"warning: {other_code}", file=sys.stderr)


def _found(running: Search, first: Point, every: Table, given: Sequence[str]) -> Found:
    """The best trial; also prints it, and what to do next."""
    folder, trials = running.folder, running.study.trials()
    chosen = table.best(trials)
    if chosen is None:
        raise RunError("no trial is complete")
    verdict = table.verdict(chosen, first.measure, folder)
    told = [*verdict, *_next(folder, folder / chosen.user_attrs["folder"], given)]
    print("\n".join(told))
    return Found(
        folder=str(folder),
        best=points.alone(running.space, chosen.params),
        value=first.measure.gain(chosen.values[0]),
        table=every,
        told=[f"search folder: {folder}", *told],
        whole="failed" not in map(table.state, trials) and running.unfinished == 0,
    )


def _next(folder: Path, best_run: Path, given: Sequence[str]) -> list[str]:
    """The commands for the page, and for the best run again. Writes the settings of that."""
    (run,) = runs.read([best_run])
    place = shlex.quote(str(best.write_best(run, folder)))
    keys = {key for key in map(key_of, given) if best.is_left_out(key)} | {"trusted_targets"}
    typed = [word for word in given if key_of(word) in keys]
    words = ["experiment=" + best.NAME, *map(shlex.quote, typed)]
    return [
        f"page: cl-report {shlex.quote(str(folder))}",
        f"again: cl-train --config-dir {place} {' '.join(words)}",
    ]
