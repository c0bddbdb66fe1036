"""The runner's training loop against one by hand on the same network, in batches of a few samples.

There the loop costs most: a step of the network is short. Online protocols train like this.
"""

from __future__ import annotations

import copy
import tempfile

from interleaving import Ratio, interleaved
from synthetic_runs import again, epoch_by_hand, synthetic, training

from cl_runner.training.alarm import Watch

SMALL = ("model=mlp", "model.widths=[100,100]", "model.batch_norm=false", "optimizer=sgd",
         "optimizer.lr=0.01", "optimizer.momentum=0", "optimizer.weight_decay=0")  # fmt: skip


def online(batch_size: int) -> Ratio:
    """Steps of an MLP 784-100-100-10 through the runner's loop / through the loop by hand."""
    stream = synthetic(1, 300 * min(batch_size, 10))
    task = stream.tasks[0]
    with tempfile.TemporaryDirectory() as folder:
        ours = training(stream, folder, *SMALL, f"batch_size={batch_size}", "strategy=finetune")
        network = ours.strategy.network
        network.grow(task)
        plain = copy.deepcopy(network)
        plain._forward_pre_hooks.clear()  # those that count the samples of the run
        optimizer = ours.settings.optimizer(plain.parameters(), 0)
        by_hand = epoch_by_hand(plain, optimizer, task, batch_size)
        ours.watch = Watch(task, ours.parameters)
        return interleaved(lambda: again(ours, task), by_hand, pairs=101)
