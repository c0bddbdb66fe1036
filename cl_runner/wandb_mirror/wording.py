"""What W&B's panels are called: in words, as on the page of `cl-report`."""

from __future__ import annotations

from cl_runner.measures import Measure, Quantity
from cl_runner.report.render.drawings import Drawing

STEP, TASK = "step", "task"
"""The axes of charts."""
LOSS, RATE, STRATEGY, WITHIN = "Training loss", "Learning rate", "Strategy", "While learning"
"""How the names of charts over the steps begin."""
OF_OWN = " among the task's own classes"
"""Follows the name of a chart of accuracies among these."""
FIGURES = {
    "accuracy_matrix": "Picture of the accuracy matrix",
    "accuracy_task_il_matrix": "Picture of the accuracy matrix",
    "mse_matrix": "Picture of the error matrix",
    "over_training": "Each task over training",
    "over_tasks": "Accuracy after each task",
    "trade_off": "New against old tasks",
    "costs": "Costs",
    "fits": "Fit after each task",
    "errors_over_epochs": "Error on each task over all epochs",
    "why": "What earlier tasks have lost",
}
"""The figures of a report; one for each swept setting comes in addition."""


def charts(measure: Measure) -> str:
    """How the names of its charts over the tasks begin: `Accuracy`."""
    return measure.title.capitalize()


def on_task(measure: Measure, task: int, more: str = "") -> str:
    """`Accuracy on task 1 (%)`; tasks count from 0."""
    return f"{charts(measure)} on task {task + 1}{more}{_unit(measure)}"


def within(measure: Measure, task: int) -> str:
    """`While learning: accuracy on task 1 (%)`."""
    return f"{WITHIN}: {measure.title} on task {task + 1}{_unit(measure)}"


def mean(measure: Measure) -> str:
    """`Accuracy, mean of the tasks so far (%)`."""
    return f"{charts(measure)}, mean of the tasks so far{_unit(measure)}"


def matrix(measure: Measure, more: str = "") -> str:
    """`Accuracy matrix (%)`."""
    return f"{charts(measure)} matrix{more}{_unit(measure)}"


def figure(drawing: Drawing) -> str:
    """Its subject; of a swept setting, `Effect of ewc weight`."""
    if drawing.name.startswith("sensitivity_"):
        return f"Effect of {_words(drawing.name.partition('_')[2].partition('_')[2])}"
    return FIGURES.get(drawing.name) or _words(drawing.name).capitalize()


def _words(name: str) -> str:
    return name.replace("_", " ")


def _unit(quantity: Quantity) -> str:
    return f" ({quantity.unit.sign})" if quantity.unit.sign else ""
