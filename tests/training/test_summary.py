"""What a run prints in the end: its matrix, folded if there are many tasks."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from statistics import fmean

import pytest
from planted_runs import outcome

from cl_runner.run_folder.events import Evaluation
from cl_runner.training.results import summary


def matrix(tasks: int) -> list[list[float | None]]:
    """Another number at each place."""
    return [
        [(t * tasks + k + 1) / tasks**2 if k <= t else None for k in range(tasks)]
        for t in range(tasks)
    ]


@pytest.mark.parametrize("tasks", [1, 5, 10])
def test_up_to_ten_tasks_are_all_shown(tasks: int) -> None:
    R = matrix(tasks)
    lines = summary(outcome(accuracy=R), Path("folder")).splitlines()
    assert lines[1].split() == ["task", *(str(k + 1) for k in range(tasks))]
    for t, row in enumerate(R):
        shown = ["–" if value is None else f"{100 * value:.1f}" for value in row]
        assert lines[2 + t].split() == ["after", str(t + 1), *shown]


@pytest.mark.parametrize("tasks", [11, 20, 50])
def test_of_more_tasks_some_are_shown_and_the_mean_over_all(tasks: int) -> None:
    R = matrix(tasks)
    lines = summary(outcome(accuracy=R), Path("folder")).splitlines()
    assert max(map(len, lines)) <= 80
    numbers = [int(word) for word in lines[1].removesuffix("mean of all so far").split()[1:]]
    assert numbers == sorted(set(numbers)) and len(numbers) == 7
    assert (numbers[0], numbers[-1]) == (1, tasks)
    gaps = [b - a for a, b in pairwise(numbers)]
    assert max(gaps) - min(gaps) <= 1
    for line, t in zip(lines[2:9], numbers, strict=True):
        row = R[t - 1]
        shown = ["–" if (v := row[k - 1]) is None else f"{100 * v:.1f}" for k in numbers]
        mean = fmean(value for value in row if value is not None)
        assert line.split() == ["after", str(t), *shown, f"{100 * mean:.1f}"]


def test_a_line_after_a_task_has_ten_numbers_at_most() -> None:
    row = [k / 20 for k in range(11)]
    ten = Evaluation(event="evaluation", task=9, step=1, accuracy=row[:10])
    eleven = Evaluation(event="evaluation", task=10, step=1, accuracy=row)
    assert ten.brief == ten.text == "accuracy 0.0 5.0 10.0 15.0 20.0 25.0 30.0 35.0 40.0 45.0"
    assert eleven.brief == "accuracy 25.0 on average (first 0.0, last 50.0)"
    assert len(eleven.text.split()) == 12  # as in log.txt
