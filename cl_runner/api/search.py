"""A search, as Python and a notebook show it."""

from __future__ import annotations

from pathlib import Path

from cl_runner.api import display
from cl_runner.api.runs import Runs
from cl_runner.searches.found import Found
from cl_runner.text import harmless


class Search:
    """What `cl_runner.search` has found. `print(search)` shows what the command prints."""

    def __init__(self, found: Found) -> None:
        self._found = found
        self.folder = Path(found.folder)
        self.best = list(found.best)
        """The best settings, all of them as words: `run(*search.best)` repeats that run, with the
        same `config_dir` if the search had one."""
        self.value = found.value
        """What the best run has reached after its last task, on validation samples: the mean
        accuracy over tasks, a fraction of 1; in regression, the mean squared error."""

    @property
    def runs(self) -> Runs:
        """Its runs, those of earlier calls included, of whatever state."""
        return Runs.below(self.folder)

    def table(self) -> str:
        """One line for each trial: its settings, state, value, folder and error. Use
        `print(search.table())`."""
        return harmless(str(self._found.table))

    def __repr__(self) -> str:
        return harmless(f"<Search {self.folder}: {self._found.told[1]}>")

    def __str__(self) -> str:
        return harmless("\n".join([self.table(), *self._found.told]))

    def _repr_html_(self) -> str:
        table = self._found.table
        lines = (f"<div>{display.safe(line)}</div>" for line in (table.counts, *self._found.told))
        return "".join([display.table(table.columns, table.rows), *lines])
