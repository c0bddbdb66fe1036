"""`cl-search`: settings chosen by optuna (TPE) on validation data; resumable, pruned at task ends.

Settings are those of cl-train. Those with interval(a,b), tag(log,interval(a,b)),
int(interval(a,b)), range(a,b) or a list a,b,c are searched; all others are the same for all runs.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from contextlib import ExitStack
from pathlib import Path

from cl_runner import extras, terminal
from cl_runner.config import hydra_loader as loader
from cl_runner.config import masking, search_path
from cl_runner.config.overrides import key_of
from cl_runner.errors import MISSING, ConfigError, RunError
from cl_runner.jobs.job import Job, digest_of, plain_name
from cl_runner.run_folder import files as storage

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
    terminal.run(parser, _search_masked, "run the same command to continue")


def _search_masked(arguments: argparse.Namespace) -> int:
    loader.install()
    with masking.hiding_secrets_of(arguments.overrides):
        return search(arguments)


def search(arguments: argparse.Namespace) -> int:
    """Search and print the table of all trials. Returns 0 if no trial failed, else 1; raises
    RunError if none is complete."""
    for flag in ("trials", "jobs"):
        number = getattr(arguments, flag)
        if number is not None and number < 1:
            raise ConfigError.of(f"--{flag}", number, "must be an integer ≥ 1")
    try:
        import optuna  # noqa: F401
    except ModuleNotFoundError:
        hint = extras.install("search")
        raise ConfigError.of("optuna", MISSING, "is not installed", hint) from None
    from cl_runner.jobs import engine
    from cl_runner.report import best
    from cl_runner.report.compare import runs
    from cl_runner.run_folder import changed_code
    from cl_runner.run_folder.read import DONE
    from cl_runner.searches import points, space, table
    from cl_runner.searches.batches import run_on
    from cl_runner.searches.search import Search
    from cl_runner.searches.study import FILE, Study, kept_in

    config_dir = search_path.checked(arguments.config_dir)
    launching = engine.of_the_launcher(arguments.overrides)
    given = [word for word in arguments.overrides if word not in launching]
    searched = space.read(given, config_dir)
    first = points.all_checked(searched, arguments.name or "unnamed")
    name = arguments.name or f"{plain_name(first.title)}_{digest_of(searched.identity())}"
    folder = first.output_root / "searches" / name
    with ExitStack() as inside:
        chosen = inside.enter_context(engine.chosen(launching, config_dir, arguments.jobs))
        if chosen is not None:
            all_settings = Job(folder, {}, given)
            chosen.prepare(folder, [all_settings], idle=(folder / FILE).exists())
        inside.enter_context(storage.locked(folder))
        inside.enter_context(kept_in(folder))
        study = Study(folder, searched, first.config["seed"])
        running = Search(folder, searched, study, first.masks)
        kept = ((job.folder, first.config) for job in running.jobs() if job.state == DONE)
        if other_code := changed_code.of_runs(kept, "--name"):
            print(f"warning: {other_code}", file=sys.stderr)
        try:
            if chosen is None:
                running.run(arguments.trials, arguments.jobs or os.cpu_count() or 1)
            else:
                run_on(chosen, running, arguments.trials)
        finally:
            print("\n" + table.table(study.trials(), list(searched.searched), first.measure))
            print(f"search folder: {folder}", flush=True)
        chosen = table.best(study.trials())
        if chosen is None:
            raise RunError("no trial is complete")
        print(table.verdict(chosen, first.measure, folder))
        (run,) = runs.read([folder / chosen.user_attrs["folder"]])
        place = shlex.quote(str(best.write_best(run, folder)))
        keys = {key for key in map(key_of, given) if best.is_left_out(key)} | {"trusted_targets"}
        typed = [word for word in given if key_of(word) in keys]
        words = ["experiment=" + best.NAME, *map(shlex.quote, typed)]
        print(f"page: cl-report {shlex.quote(str(folder))}")
        print(f"again: cl-train --config-dir {place} {' '.join(words)}")
    failed = any(table.state(trial) == "failed" for trial in study.trials())
    return int(failed or running.unfinished > 0)


if __name__ == "__main__":
    main()
