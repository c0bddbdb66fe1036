"""Which evaluator a stream needs: its likelihood decides what is measured."""

from __future__ import annotations

from cl_runner.data.stream import Stream
from cl_runner.evaluation.accuracy import Accuracy
from cl_runner.evaluation.evaluator import Evaluator, Keep
from cl_runner.evaluation.squared_error import SquaredError

EVALUATORS: dict[str, type[Evaluator]] = {
    evaluator.measure: evaluator for evaluator in (Accuracy, SquaredError)
}


def evaluator_of(stream: Stream, keep: Keep = "predictions") -> Evaluator:
    """A new evaluator for this stream. keep: whether the scores of each test sample stay, too."""
    return EVALUATORS[stream.outline.likelihood.measure](stream, keep)
