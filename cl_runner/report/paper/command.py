"""The options of `cl-report --table`, and the three files that it writes."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cl_runner.errors import ConfigError
from cl_runner.metrics import METRICS, Metric
from cl_runner.plugins import loading
from cl_runner.report.compare.runs import printable, read
from cl_runner.report.compare.sorting import sections
from cl_runner.report.paper import formats
from cl_runner.report.paper.caption import ERRORS
from cl_runner.report.paper.cells import Grid, grid
from cl_runner.report.paper.layout import layout
from cl_runner.report.paper.names import Labels
from cl_runner.report.paper.names import read as labels_of
from cl_runner.report.suites import OfSuite
from cl_runner.run_folder.files import make, refuse_links, write

OPTIONS = ("rows", "columns", "metrics", "labels", "spread")


@dataclass(frozen=True)
class Wanted:
    """What was asked of a table; None: not said."""

    rows: Sequence[str] | None = None
    columns: Sequence[str] | None = None
    metrics: str | None = None
    labels: Path | None = None
    spread: str | None = None

    @classmethod
    def of(cls, arguments: Namespace) -> Wanted | None:
        """None if the command line does not ask for a table. Raises ConfigError for an option of
        it without `--table`, or for one of the report with it."""
        wanted = cls(**{name: getattr(arguments, name) for name in OPTIONS})
        if arguments.table:
            for name in ("baseline", "method", "margin"):
                if (given := getattr(arguments, name)) is not None:
                    raise ConfigError.of(f"--{name}", given, "is for the report, not for a table")
            return wanted
        for name in OPTIONS:
            if (given := getattr(wanted, name)) is not None:
                value = " ".join(given) if isinstance(given, list) else given
                raise ConfigError.of(f"--{name}", value, "is for a table", "add --table")
        return None


def add_options(parser: ArgumentParser) -> None:
    """Add `--table` and what belongs to it."""
    group = parser.add_argument_group("a table for a paper, instead of the report")
    group.add_argument("--table", action="store_true", help="methods × data sets or settings")
    for name, default in (("rows", "strategy"), ("columns", "what else varies")):
        group.add_argument(
            f"--{name}",
            action="append",
            metavar="KEYS",
            help=f"KEY,KEY: settings such as strategy, dataset.scenario, strategy.buffer_size; "
            f"KEY=VALUE,VALUE: only these values; can be repeated (default: {default})",
        )
    group.add_argument(
        "--metrics", metavar="NAME[,NAME]", help="as in results.json (default: average_accuracy)"
    )
    group.add_argument(
        "--labels", type=Path, metavar="FILE", help="YAML with lines `name: text in the table`"
    )
    group.add_argument(
        "--spread",
        choices=sorted(ERRORS),
        help="after the ±: the standard deviation (default), or the standard error of the mean",
    )


def table(folders: Sequence[Path], output: Path, wanted: Wanted) -> tuple[str, list[Path]]:
    """Write `table.md`, `table.tex` and `table.csv`. Returns the Markdown, and the files. Raises
    ConfigError for names that are not known and for cells with several settings."""
    labels = Labels() if wanted.labels is None else labels_of(wanted.labels)
    asked = _named(wanted.metrics)
    runs = read(folders)
    suite = OfSuite.read(folders)
    streams = sections(runs, suite.labels(runs) if suite else None)
    if not any(section.measured for section in streams):
        raise ConfigError.of("FOLDER", ", ".join(map(str, folders)), "holds no complete run")
    made = grid(
        streams, wanted.rows, wanted.columns, labels, list(suite.suite.runs) if suite else ()
    )
    metrics = asked or [made.section(made.shown[0]).metric]
    _check(metrics, made)
    error = wanted.spread or "sd"
    laid_out = layout(made, metrics, labels, error, printable(folders[0].resolve().name))
    notes = laid_out.caption.notes(streams)
    texts = {
        "table.md": formats.markdown(laid_out, notes),
        "table.tex": formats.latex(laid_out, notes),
        "table.csv": formats.csv(made, metrics, laid_out.caption.marks),
    }
    refuse_links(output, *(output / name for name in texts))
    make(output)
    for name, text in texts.items():
        write(output / name, text)
    return texts["table.md"], [output / name for name in texts]


def _named(names: str | None) -> list[Metric]:
    """The metrics with these names."""
    found = []
    for name in dict.fromkeys((names or "").split(",") if names is not None else ()):
        loading.load()
        if name not in METRICS:
            raise ConfigError.of(
                "--metrics", name, "is no metric", f"known are {', '.join(METRICS)}"
            )
        found.append(METRICS[name])
    return found


def _check(metrics: Sequence[Metric], made: Grid) -> None:
    for metric in metrics:
        if not any(group.spread(metric).n for group in made.shown):
            raise ConfigError.of("--metrics", metric.name, "is null in every run of the table")
