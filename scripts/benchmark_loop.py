"""The runner's training loop against the shortest loop on the same tensors."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence

from interleaving import Ratio, interleaved
from synthetic_runs import again, epoch_by_hand, synthetic, training
from torch import nn

from cl_runner.training.alarm import Watch


def loop(overrides: Sequence[str]) -> Ratio:
    """One epoch through the runner's loop / one through the loop by hand."""
    cnn = "model=cnn" in overrides
    stream = synthetic(1, 640 if cnn else 5_000)
    task = stream.tasks[0]
    with tempfile.TemporaryDirectory() as folder:
        ours = training(stream, folder, *overrides, "strategy=finetune")
        ours.strategy.network.grow(task)
        plain = _cnn() if cnn else _mlp()
        optimizer = ours.settings.optimizer(plain.parameters(), 0)
        by_hand = epoch_by_hand(plain, optimizer, task, ours.settings.batch_size)
        ours.watch = Watch(task, ours.parameters)
        return interleaved(lambda: again(ours, task), by_hand)


def _cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(6272, 512), nn.ReLU(), nn.Linear(512, 10),
    )  # fmt: skip


def _mlp() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, 256), nn.BatchNorm1d(256), nn.ReLU(),
        nn.Linear(256, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip
