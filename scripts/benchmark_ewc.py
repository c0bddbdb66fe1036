"""What EWC and SI add to a training step, and whether that grows with the number of tasks."""

from __future__ import annotations

import tempfile
from collections.abc import Callable

from interleaving import Ratio, interleaved
from synthetic_runs import MLP, again, synthetic, training

from cl_runner.data.stream import Stream
from cl_runner.training.alarm import Watch


def ewc_step() -> Ratio:
    """EWC's steps / fine-tuning's, in the second task."""
    stream = synthetic(2, 5_000)
    with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
        ewc, finetune = _at_task(stream, a, "ewc", 1), _at_task(stream, b, "finetune", 1)
        return interleaved(ewc, finetune)


def si_step() -> Ratio:
    """SI's steps / fine-tuning's, in the second task."""
    stream = synthetic(2, 5_000)
    with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
        si, finetune = _at_task(stream, a, "si", 1), _at_task(stream, b, "finetune", 1)
        return interleaved(si, finetune)


def ewc_flat() -> Ratio:
    """EWC's steps in the 20th task / in the second."""
    stream = synthetic(20, 5_000)
    with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
        return interleaved(_at_task(stream, a, "ewc", 19), _at_task(stream, b, "ewc", 1))


def _at_task(stream: Stream, folder: str, strategy: str, done: int) -> Callable[[], None]:
    """The steps of a task through the runner's loop. done: the number of tasks learned before."""
    settings = [f"strategy={strategy}", *MLP]
    if strategy == "ewc":
        settings += ["strategy.fisher=empirical", "strategy.fisher_samples=100"]
    run = training(stream, folder, *settings)
    run.strategy.network.grow(stream.tasks[0])
    for task in stream.tasks[:done]:
        run.strategy.end_task(task)
    task = stream.tasks[done]
    run.watch = Watch(task, run.parameters)  # one for the whole task, as in a run
    return lambda: again(run, task)
