"""`cl-search`: settings chosen by optuna (TPE) on validation data; resumable, pruned at task ends.

Settings are those of cl-train. Those with interval(a,b), tag(log,interval(a,b)),
int(interval(a,b)), range(a,b) or a list a,b,c are searched; all others are the same for all runs.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from cl_runner import extras, terminal
from cl_runner.config import command_line, masking, search_path
from cl_runner.config import hydra_loader as loader
from cl_runner.config.overrides import key_of
from cl_runner.errors import MISSING, ConfigError, RunError
from cl_runner.jobs.job import Job, digest_of, plain_name
from cl_runner.run_folder import files as storage
from cl_runner.searches.found import Found

EXAMPLE = (
    "example: cl-search strategy=ewc 'strategy.weight=tag(log,interval(1,1e5))'"
    " 'optimizer.lr=choice(1e-4,1e-3)' dataset.validation_fraction=0.2 --trials 30"
)


def main() -> None:
    """`cl-search KEY=VALUE ...`. The exit codes of cl-train; 1 if a trial failed."""
    parser = argparse.ArgumentParser(
        prog="cl-search",
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings of cl-train")
    parser.add_argument(
        "--trials", type=int, default=20, help="in all, including earlier calls (default: 20)"
    )
    parser.add_argument("--jobs", type=int, help="runs at a time on this machine; default: cores")
    parser.add_argument("--name", help="name of the search, and of its folder in outputs/searches")
    parser.add_argument(search_path.FLAG, "-cd", type=Path, help=search_path.HELP)
    terminal.run(parser, _search, "run the same command to continue")


def _search(arguments: argparse.Namespace) -> int:
    return int(not search(**vars(arguments)).whole)


def search(
    overrides: Sequence[str],
    config_dir: Path | None,
    trials: int,
    jobs: int | None,
    name: str | None,
) -> Found:
    """Search, and print the table of all trials. Raises RunError if none is complete."""
    for flag, number in (("trials", trials), ("jobs", jobs)):
        if number is not None and number < 1:
            raise ConfigError.of(command_line.flag(flag), number, "must be an integer ≥ 1")
    try:
        import optuna  # noqa: F401
    except ModuleNotFoundError:
        hint = extras.install("search")
        raise ConfigError.of("optuna", MISSING, "is not installed", hint) from None
    loader.install()
    with masking.hiding_secrets_of(overrides):
        return _found(overrides, search_path.checked(config_dir), trials, jobs, name)


def _found(
    overrides: Sequence[str],
    config_dir: Path | None,
    trials: int,
    jobs: int | None,
    name: str | None,
) -> Found:
    from cl_runner.jobs import engine
    from cl_runner.run_folder import changed_code
    from cl_runner.run_folder.read import DONE
    from cl_runner.searches import points, space, table
    from cl_runner.searches.batches import run_on
    from cl_runner.searches.search import Search
    from cl_runner.searches.study import FILE, Study, kept_in

    launching = engine.of_the_launcher(overrides)
    given = [word for word in overrides if word not in launching]
    searched = space.read(given, config_dir)
    first = points.all_checked(searched, name or "unnamed")
    name = name or f"{plain_name(first.title)}_{digest_of(searched.identity())}"
    folder = first.output_root / "searches" / name
    with ExitStack() as inside:
        launcher = inside.enter_context(engine.chosen(launching, config_dir, jobs))
        if launcher is not None:
            all_settings = Job(folder, {}, given)
            launcher.prepare(folder, [all_settings], idle=(folder / FILE).exists())
        inside.enter_context(storage.locked(folder))
        inside.enter_context(kept_in(folder))
        study = Study(folder, searched, first.config["seed"])
        running = Search(folder, searched, study, first.masks)
        kept = ((job.folder, first.config) for job in running.jobs() if job.state == DONE)
        if other_code := changed_code.of_runs(kept, command_line.flag("name")):
            print(f"warning: {other_code}", file=sys.stderr)
        try:
            if launcher is None:
                running.run(trials, jobs or os.cpu_count() or 1)
            else:
                run_on(launcher, running, trials)
        finally:
            every = table.of(study.trials(), list(searched.searched), first.measure)
            print(f"\n{every}\nsearch folder: {folder}", flush=True)
        chosen = table.best(study.trials())
        if chosen is None:
            raise RunError("no trial is complete")
        verdict = table.verdict(chosen, first.measure, folder)
        told = [*verdict, *_next(folder, folder / chosen.user_attrs["folder"], given)]
        print("\n".join(told))
        return Found(
            folder=str(folder),
            best=points.alone(searched, chosen.params),
            value=first.measure.gain(chosen.values[0]),
            table=every,
            told=[f"search folder: {folder}", *told],
            whole="failed" not in map(table.state, study.trials()) and running.unfinished == 0,
        )


def _next(folder: Path, best_run: Path, given: Sequence[str]) -> list[str]:
    """The commands for the page, and for the best run again. Writes the settings of that."""
    from cl_runner.report import best
    from cl_runner.report.compare import runs

    (run,) = runs.read([best_run])
    place = shlex.quote(str(best.write_best(run, folder)))
    keys = {key for key in map(key_of, given) if best.is_left_out(key)} | {"trusted_targets"}
    typed = [word for word in given if key_of(word) in keys]
    words = ["experiment=" + best.NAME, *map(shlex.quote, typed)]
    return [
        f"page: cl-report {shlex.quote(str(folder))}",
        f"again: cl-train --config-dir {place} {' '.join(words)}",
    ]


if __name__ == "__main__":
    main()
