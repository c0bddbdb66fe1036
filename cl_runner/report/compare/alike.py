"""The alarm of a report: strategies whose runs cannot be told from fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np
from scipy.special import stdtrit

from cl_runner.metrics import Matrix
from cl_runner.report.compare.groups import Group, Section
from cl_runner.report.compare.reasons import listed, percent
from cl_runner.report.compare.significance import LEVEL, NOISE
from cl_runner.run_folder.outcome import Results
from cl_runner.text import counted

FINE_TUNING = "finetune"
SMALL = 0.01


def alike(section: Section) -> list[str]:
    """A line for those that equal fine-tuning within noise on all rows of the accuracy matrix after
    the first. Two sentences apart: those that differ among the classes of a task, and those that do
    not. Needs two seeds."""
    inert, hidden = [], []
    for group in section.measured:
        plain = _fine_tuning(section, group)
        if plain is None or _differ(group, plain, "matrix"):
            continue
        among_own = group.complete[0].results.accuracy_task_il is not None
        if among_own and _differ(group, plain, "accuracy_task_il"):
            hidden.append((group, plain))
        else:
            inert.append((group, plain))
    return [*_inert(inert), *(_hidden(*pair) for pair in hidden)]


def _fine_tuning(section: Section, group: Group) -> Group | None:
    """Fine-tuning with the same settings and at least two of the same seeds."""
    if group.strategy == FINE_TUNING:
        return None
    plain = [other for other in section.measured if other.strategy == FINE_TUNING]
    alike = (other for other in plain if _settings(other) == _settings(group))
    return next((other for other in alike if len(_pairs(group, other)) > 1), None)


def _settings(group: Group) -> dict[str, Any]:
    """All but the strategy's own."""
    return {k: v for k, v in group.settings.items() if k.partition(".")[0] != "strategy"}


def _pairs(group: Group, other: Group) -> list[tuple[Results, Results]]:
    theirs = {run.seed: run.results for run in other.complete}
    return [(run.results, theirs[run.seed]) for run in group.complete if run.seed in theirs]


def _differ(group: Group, other: Group, matrix: str) -> bool:
    """Whether some entry of this matrix, below its first row, differs by more than noise.

    Noise is a paired 95 % interval (Student's t, Bonferroni over the entries) around 0. Its
    deviation is the smaller one of that of the entry over seeds and the pooled one of all entries:
    with few seeds, one entry alone knows its own badly. One point, or two test samples, is noise in
    any case.
    """
    pairs = _pairs(group, other)
    of_seeds = [(_later(getattr(a, matrix)), _later(getattr(b, matrix))) for a, b in pairs]
    differences = np.array([np.subtract(*rows) for rows in of_seeds])  # [seeds, entries]
    seeds, entries = differences.shape
    deviation = differences.std(0, ddof=1)
    pooled = np.sqrt(np.mean(deviation**2))
    freedom = np.array([seeds - 1, (seeds - 1) * entries])
    own, of_all = stdtrit(freedom, 1 - LEVEL / (2 * entries))
    limit = np.minimum(own * deviation, of_all * pooled) / np.sqrt(seeds)
    tasks = pairs[0][0].tasks
    least = [max(SMALL, 2 / tasks[k].test) for t in range(1, len(tasks)) for k in range(t + 1)]
    return bool(np.any(np.abs(differences.mean(0)) > np.maximum(limit, least) + NOISE))


def _later(matrix: Matrix) -> list[float]:
    """The entries below the first row."""
    return [value for row in matrix[1:] for value in row if value is not None]


def _inert(found: Sequence[tuple[Group, Group]]) -> list[str]:
    if not found:
        return []
    names = listed([group.label for group, _ in found])
    seeds = counted(min(len(_pairs(*pair)) for pair in found), "shared seed")
    return [
        f"Alarm: {names} cannot be told from fine-tuning on any task, after any task, among all "
        f"classes or among those of a task ({seeds}). "
        f"{'What it adds' if len(found) == 1 else 'What they add'} may have no effect."
    ]


def _hidden(group: Group, plain: Group) -> str:
    ours, theirs = (_told_apart(one) for one in (group, plain))
    return (
        f"Alarm: {group.label} cannot be told from fine-tuning on any task, after any task, among "
        "all classes. It does act: in the end the classes of earlier tasks are told apart at "
        f"{percent(ours)}, with fine-tuning at {percent(theirs)}; but they are hidden all the same."
    )


def _told_apart(group: Group) -> float:
    """Accuracy among a task's own classes after the last task, the mean over earlier tasks and
    seeds."""
    rows = [run.results.accuracy_task_il or [] for run in group.complete]
    return fmean(value for row in rows for value in row[-1][:-1] if value is not None)
