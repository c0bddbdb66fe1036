"""What a report says of a run or a sweep, as W&B's tables, charts and images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cl_runner.forgetting import OWN, Parts, key_of, labels_of
from cl_runner.measures import Measure
from cl_runner.metrics import Matrix
from cl_runner.report.compare.comparisons import Asked, compare
from cl_runner.report.compare.conclusions import conclusions
from cl_runner.report.compare.reasons import reasons
from cl_runner.report.compare.runs import Run
from cl_runner.report.compare.runs import read as runs_in
from cl_runner.report.compare.sorting import sections
from cl_runner.report.render import ranking, tables
from cl_runner.report.render.drawings import Drawing
from cl_runner.report.render.drawings import of_section as drawings_of
from cl_runner.report.render.figures import picture
from cl_runner.report.render.reasons import Why, pieces, why
from cl_runner.report.render.table import Table
from cl_runner.run_folder import read
from cl_runner.run_folder.outcome import Results
from cl_runner.wandb_mirror import wording

Value = float | str | None
"""A cell of a W&B table."""
Panels = dict[str, Any]
"""Objects of W&B by their titles."""


def of_run(folder: Path, results: Results) -> tuple[dict[str, float], Panels]:
    """What `cl-report` says of this complete run: the parts of what it forgot, as shares for the
    summary, and matrices, tables, the confusion matrix and figures."""
    panels = {wording.matrix(results.measure): _matrix(results.measure, results.matrix)}
    if (own := own_accuracy(results)) is not None:
        panels[wording.matrix(results.measure, wording.OF_OWN)] = _matrix(results.measure, own)
    runs = [run for run in runs_in([folder]) if run.folder == folder and run.complete]
    numbers: dict[str, float] = {}
    for section in sections(runs):
        explained = reasons(section)
        if explained:
            numbers = _lost(explained[0].lost)
            panels["Confusion matrix"] = _confusion(folder, results)
        panels |= _of_why(why(section)) | _images(drawings_of(section))
    return numbers, panels


def of_sweep(runs: Sequence[Run]) -> Panels:
    """What `cl-report` says of its runs: for each stream what can be concluded, the ranking, the
    results, why strategies forgot, and the figures."""
    panels: Panels = {}
    streams = sections(runs)
    for section in streams:
        compared = compare(section, Asked())
        said = conclusions(section, compared, Asked())
        of_stream = {"What can be concluded": _sentences(said)}
        if compared.made:
            of_stream["Ranking"] = _table(ranking.table(section, compared))
        if section.measured:
            of_stream["Results"] = _table(tables.results(section))
            of_stream |= _of_why(why(section)) | _images(drawings_of(section))
        prefix = f"{section.title}: " if len(streams) > 1 else ""
        panels |= {f"{prefix}{title}": panel for title, panel in of_stream.items()}
    return panels


def own_accuracy(results: Results) -> Matrix | None:
    """The accuracy matrix among the classes of each task alone, unless it is the run's own."""
    return None if results.names_task else results.accuracy_task_il


def in_columns(columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> Any:
    """A W&B table. Each of its columns has one type: numbers if all cells are, else text."""
    import wandb

    typed = [_of_one_type([row[n] for row in rows]) for n in range(len(columns))]
    return wandb.Table(columns=list(columns), data=[list(row) for row in zip(*typed, strict=True)])


def _of_one_type(column: Sequence[Value]) -> list[Value]:
    try:
        return [None if cell is None else float(cell) for cell in column]
    except ValueError:
        return [None if cell is None else str(cell) for cell in column]


def _table(table: Table) -> Any:
    """A table of the report, with the numbers that it shows."""
    shown = [[cell.value if cell.text == "–" else cell.text for cell in row] for row in table.rows]
    return in_columns(table.columns, shown)


def _sentences(sentences: Sequence[str]) -> Any:
    return in_columns(["sentence"], [[sentence] for sentence in sentences])


def _matrix(measure: Measure, rows: Matrix) -> Any:
    """One row after each task, one column for each, in the unit that is shown."""
    columns = ["after task", *(f"on task {k + 1}" for k in range(len(rows)))]
    factor = measure.unit.factor
    shown = [[None if value is None else factor * value for value in row] for row in rows]
    return in_columns(columns, [[t + 1, *row] for t, row in enumerate(shown)])


def _confusion(folder: Path, results: Results) -> Any:
    """After the last task, how many test samples of each class are called which."""
    import wandb

    arrays, last = read.predictions(folder), len(results.tasks) - 1
    ending = OWN if results.names_task else ""
    tasks = range(last + 1)
    true = np.concatenate([arrays[labels_of(k)] for k in tasks])
    called = np.concatenate([arrays[key_of(last, k) + ending] for k in tasks])
    title = "Test samples of each class, by what they are called after the last task"
    return wandb.plot.confusion_matrix(
        y_true=true.tolist(), preds=called.tolist(), class_names=results.class_labels, title=title
    )


def _lost(parts: Parts) -> dict[str, float]:
    named = {"both": "features_and_head"}
    shares = {f"lost_{named.get(name, name)}": share for name, share in pieces(parts).items()}
    known = {name: share for name, share in shares.items() if share is not None}
    return {"lost": parts.loss, **known}


def _of_why(said: Why) -> Panels:
    """The reasons: sentences, tables and bars, each under its title."""
    shown = [*said.tables, *said.details]
    sentences = [*said.alarms, *said.sentences]
    return {
        **({"Why tasks were forgotten": _sentences(sentences)} if sentences else {}),
        **{table.title: _table(table) for table in shown},
        **_images(said.figures),
    }


def _images(drawn: Iterable[Drawing]) -> Panels:
    """Figures as they are on the page, colours included."""
    import wandb

    return {
        wording.figure(one): wandb.Image(picture(one.figure), caption=one.caption) for one in drawn
    }
