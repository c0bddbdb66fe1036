"""A table and its cells, before it is laid out as a page, Markdown, LaTeX or CSV."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property


@dataclass(frozen=True)
class Cell:
    """A text, and the number that it is sorted by; a cell without one is sorted by its text.
    setting: the label of the group of runs that the cell names, which has a colour and a marker."""

    text: str
    value: float | None = None
    setting: str | None = None

    @classmethod
    def number(cls, value: float | None, digits: str = "") -> Cell:
        """A number in this format; a dash for None."""
        return cls("–" if value is None else f"{value:{digits}}", value)


@dataclass(frozen=True)
class Table:
    """A heading, columns and rows, and notes on how to read them."""

    title: str
    columns: list[str]
    rows: list[list[Cell]]
    notes: list[str] = field(default_factory=list)

    @cached_property
    def numeric(self) -> list[bool]:
        """For each column, whether it holds numbers."""
        return [any(r[c].value is not None for r in self.rows) for c in range(len(self.columns))]

    def without_empty(self) -> Table:
        """Without the columns that have nothing but dashes."""
        width = range(len(self.columns))
        kept = [c for c in width if any(row[c].text != "–" for row in self.rows)]
        rows = [[row[c] for c in kept] for row in self.rows]
        return replace(self, columns=[self.columns[c] for c in kept], rows=rows)
