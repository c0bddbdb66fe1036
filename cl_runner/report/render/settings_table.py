"""What the runs of a section were trained with: in a line, and every setting in a table."""

from __future__ import annotations

from collections.abc import Sequence

from cl_runner.report.compare.groups import Group, Section
from cl_runner.report.compare.values import shown
from cl_runner.report.render.table import Cell, Table
from cl_runner.text import counted

MOST_VALUES = 6
"""Of a setting that varies, so many values are listed."""


def in_short(section: Section) -> str:
    """Its model, optimizer, epochs and the size of its batches, where all runs agree."""
    groups = section.measured
    parts = []
    for part, body in (("model", _common(groups, "model.body")), ("optimizer", None)):
        names = {group.options.get(part) for group in groups}
        if len(names) == 1 and (name := names.pop()) is not None:
            parts.append(f"{part} {name}" + (f" ({body})" if body else ""))
    for key, unit in (("epochs", "epoch"), ("steps", "step")):
        if isinstance(count := _common(groups, key), int):
            parts.append(f"{counted(count, unit)} a task")
    if (size := _common(groups, "batch_size")) is not None:
        parts.append(f"batches of {shown(size)}")
    text = ", ".join(parts)
    return f"{text[:1].upper()}{text[1:]}." if parts else ""


def settings(section: Section) -> Table:
    """One row per setting, without those of strategies, which rows are named by."""
    groups = section.measured
    keys = dict.fromkeys(key for group in groups for key in group.settings)
    rows = []
    for key in sorted(key for key in keys if not key.startswith("strategy.")):
        values = list(dict.fromkeys(shown(group.settings.get(key)) for group in groups))
        more = f" and {len(values) - MOST_VALUES} more" if len(values) > MOST_VALUES else ""
        rows.append([Cell(key), Cell(f"{'; '.join(values[:MOST_VALUES])}{more}")])
    notes = ["Of all runs; several values where they differ. Paths and secrets are left out."]
    return Table("Settings", ["setting", "value"], rows, notes)


def _common(groups: Sequence[Group], key: str) -> object:
    """The value that all groups have; None if they differ."""
    values = [group.settings.get(key) for group in groups]
    return values[0] if values and all(value == values[0] for value in values) else None
