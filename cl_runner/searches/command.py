"""`cl-search`: settings chosen by optuna (TPE) on validation data; resumable, pruned at task ends.

Settings are those of cl-train. Those with interval(a,b), tag(log,interval(a,b)),
int(interval(a,b)), range(a,b) or a list a,b,c are searched; all others are the same for all runs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cl_runner import extras, terminal
from cl_runner.config import hydra_loader as loader
from cl_runner.config import masking, search_path
from cl_runner.errors import MISSING, ConfigError
from cl_runner.searches.arguments import Arguments
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
    return int(not search(Arguments(**vars(arguments))).whole)


def search(arguments: Arguments) -> Found:
    """Search, and print the table of all trials. Raises RunError if none is complete."""
    arguments.check()
    try:
        import optuna  # noqa: F401
    except ModuleNotFoundError:
        hint = extras.install("search")
        raise ConfigError.of("optuna", MISSING, "is not installed", hint) from None
    loader.install()
    with masking.hiding_secrets_of(arguments.overrides):
        from cl_runner.searches.conduct import conduct  # late: it imports optuna

        return conduct(arguments)


if __name__ == "__main__":
    main()
