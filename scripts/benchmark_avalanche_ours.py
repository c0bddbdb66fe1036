"""Our side of the comparison with Avalanche: seconds for three tasks of split Fashion-MNIST."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import torch
from composing import composed
from synthetic_runs import begun

from cl_runner.tracking.local import LocalFiles
from cl_runner.training.loop import Training
from cl_runner.training.run import build_strategy

SETTINGS = {
    "naive": ["strategy=finetune"],
    # The same work as Avalanche's: squares of batch-mean gradients over all samples.
    "ewc": [
        "strategy=ewc",
        "strategy.half=false",
        "strategy.weight=1.0",
        "strategy.fisher=batch",
        "strategy.fisher_samples=null",
    ],
    "lwf": ["strategy=lwf", "strategy.t_squared=false"],
    "replay": ["strategy=rehearsal", "strategy.buffer_size=200", "strategy.replay_batch_size=100"],
}
COMMON = ["dataset=split_fashion_mnist", "model.widths=[256,128]", "epochs=1", "batch_size=100"]


def main() -> None:
    """Print the seconds of training, consolidation and evaluation."""
    torch.set_num_threads(1)
    settings, _ = composed(*COMMON, *SETTINGS[sys.argv[1]])
    strategy = build_strategy(settings)
    stream = settings.dataset.load(seed=0, scope="seen", device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        trackers = begun(LocalFiles(Path(folder)), folder, [task.name for task in stream.tasks])
        training = Training(settings, stream, strategy, trackers, "benchmark")
        start = time.perf_counter()
        for task in stream.tasks[:3]:
            training.learn(task)
        print(time.perf_counter() - start)


if __name__ == "__main__":
    main()
