"""What a suite adds to a report: names for its runs, its verdict, the figures it asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cl_runner.report.compare.runs import Run
from cl_runner.report.render.drawings import Drawing, of_suite
from cl_runner.report.render.looks import Looks
from cl_runner.report.render.suite_figures import published_and_ours
from cl_runner.report.render.table import Cell, Table
from cl_runner.reproduce import suite as suites
from cl_runner.reproduce.verdict import UNJUDGED
from cl_runner.run_folder import read
from cl_runner.run_folder.plain import Damaged
from cl_runner.run_folder.schemas import Judged

BOTH = "Published and ours, as means over seeds with two standard errors on each side."
COLUMNS = ["row", "published", "ours", "s.d.", "n", "verdict"]


@dataclass(frozen=True)
class OfSuite:
    """What `cl-reproduce` left beside its runs."""

    suite: suites.Suite
    rows: list[Judged]

    @classmethod
    def read(cls, folders: Sequence[Path]) -> OfSuite | None:
        """None if this is not the folder of a suite. Raises Damaged if no suite has its name."""
        verdict = read.verdict(folders[0]) if len(folders) == 1 else None
        if verdict is None:
            return None
        if verdict.suite in suites.names():
            return cls(suites.read(verdict.suite), verdict.rows)
        copy = folders[0] / suites.COPY
        if not copy.exists():
            raise Damaged(folders[0] / "verdict.json", f"there is no suite {verdict.suite}")
        return cls(suites.of_file(copy, verdict.suite), verdict.rows)

    def labels(self, runs: Sequence[Run]) -> dict[Path, str]:
        """The suite's name for each run, by its folder."""
        known = {
            self.suite.folder_name(name, run.seed): name for run in runs for name in self.suite.runs
        }
        return {run.folder: known[n] for run in runs if (n := run.folder.name) in known}

    def strategies(self, runs: Sequence[Run]) -> dict[str, str]:
        """The strategy behind each name of a complete run. The names of a curve come one after
        another, so that their shades are neighbours."""
        figures = self.suite.figures.values()
        curves = [points for asked in figures for points in asked.get("curves", {}).values()]
        seeds = self._complete(runs)
        names = dict.fromkeys(name for part in [*curves, self.suite.runs] for name in part)
        return {name: seeds[name][0].results.strategy for name in names if name in seeds}

    def drawings(self, runs: Sequence[Run], looks: Looks) -> Iterator[Drawing]:
        """What was published against ours, then the figures that the suite asks for."""
        if figure := published_and_ours(self.rows):
            yield Drawing("published_and_ours", BOTH, figure)
        yield from of_suite(self.suite, self._complete(runs), looks)

    def _complete(self, runs: Sequence[Run]) -> dict[str, list[Run]]:
        """The complete runs of each name, by seed."""
        labels = self.labels(runs)
        seeds: dict[str, list[Run]] = {}
        complete = [run for run in runs if run.complete and run.folder in labels]
        for run in sorted(complete, key=lambda run: run.results.seed):
            seeds.setdefault(labels[run.folder], []).append(run)
        return seeds

    @property
    def verdict(self) -> list[Table]:
        """Each published number, or goal, next to ours."""
        return self._table("Verdict", [row for row in self.rows if row.verdict != UNJUDGED])

    @property
    def unjudged(self) -> list[Table]:
        """Our numbers that have nothing to be compared with."""
        rows = [row for row in self.rows if row.verdict == UNJUDGED]
        return self._table("Without a published number", rows)

    def _table(self, title: str, judged: Sequence[Judged]) -> list[Table]:
        """None without rows."""
        rows = []
        for row in judged:
            digits = ".2f" if row.percent else ".3g"
            values = (row.published, row.mean, row.deviation)
            numbers = [*(Cell.number(value, digits) for value in values), Cell.number(row.n)]
            rows.append([Cell(row.row), *numbers, Cell(row.verdict)])
        return [Table(title, COLUMNS, rows, [self.suite.title])] if rows else []
