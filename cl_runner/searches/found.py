"""What a search has found, as plain data: a caller in another process gets it, too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cl_runner.text import aligned


@dataclass(frozen=True)
class Table:
    """A row for each trial."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    counts: str  # how many trials are in each state

    def __str__(self) -> str:
        return f"{aligned(self.columns, self.rows)}\n{self.counts}"


@dataclass(frozen=True)
class Found:
    """The best trial, and the table of all."""

    folder: str
    best: Sequence[str]  # the settings that repeat its run, as on a command line
    value: float  # what its run has reached on validation samples; of an error it is not negated
    table: Table
    told: Sequence[str]  # what the command prints below the table
    whole: bool  # no trial failed, and none is unfinished
