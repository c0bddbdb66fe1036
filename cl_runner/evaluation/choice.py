"""Which evaluator a stream needs: its likelihood decides what is measured."""

from __future__ import annotations

from cl_runner.data.stream import Stream
from cl_runner.evaluation.accuracy import Accuracy
from cl_runner.evaluation.evaluator import Evaluator
from cl_runner.evaluation.squared_error import SquaredError

EVALUATORS: dict[str, type[Evaluator]] = {
    evaluator.measure: evaluator for evaluator in (Accuracy, SquaredError)
}


def evaluator_of(stream: Stream) -> Evaluator:
    """A new evaluator for this stream."""
    return EVALUATORS[stream.outline.likelihood.measure](stream)
