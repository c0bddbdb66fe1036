"""The runner's training loop against one by hand on the same network, in batches of a few samples.

There the loop costs most: a step of the network is short. Online protocols train like this.
"""

from __future__ import annotations

import copy
import tempfile

import torch
from interleaving import Ratio, interleaved
from synthetic_runs import again, synthetic, training
from torch.nn import functional as F

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
        images, labels = task.train.images, task.train.labels
        assert isinstance(images, torch.Tensor)

        def by_hand() -> None:
            for rows in torch.randperm(len(labels)).split(batch_size):
                x = images[rows].float().div_(127.5).sub_(1)
                loss = F.cross_entropy(plain(x), labels[rows])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()

        ours.watch = Watch(task, ours.parameters)
        return interleaved(lambda: again(ours, task), by_hand, pairs=101)
