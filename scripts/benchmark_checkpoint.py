"""What checkpoints cost in experiment 1."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

from interleaving import Ratio, interleaved, timed
from synthetic_runs import CNN, again, synthetic, training

from cl_runner.run_folder.checkpoint import Checkpoints


def checkpoints() -> Ratio:
    """Saving after each of the two tasks / training without saving: 3 epochs over 36,000 samples
    and 5 over 24,000. Each measurement times 20 of those steps."""
    stream, steps = synthetic(1, 1280), 20
    whole_run = (3 * math.ceil(36_000 / 64) + 5 * math.ceil(24_000 / 64)) / steps
    task = stream.tasks[0]
    with tempfile.TemporaryDirectory(dir=Path(__file__).parents[1]) as folder:  # on a disk
        run = training(stream, folder, *CNN, "optimizer.momentum=0.9", "strategy=lwf")
        run.strategy.network.grow(task)
        save = Checkpoints(Path(folder) / "checkpoint", "").save
        return interleaved(
            lambda: 2 * timed(lambda: save(run.state())),
            lambda: whole_run * timed(lambda: again(run, task)),
            pairs=7,
        )
