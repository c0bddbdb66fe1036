"""iCaRL's step in the second task against the same step by hand."""

from __future__ import annotations

import copy
import tempfile

import torch
from interleaving import Ratio, interleaved
from synthetic_runs import MLP, again, synthetic, training
from torch.nn import functional as F

from cl_runner.training.alarm import Watch


def icarl_step() -> Ratio:
    """An epoch of the second task of five classes, through the runner's loop / by hand."""
    stream = synthetic(2, 5_000, split=True)
    first, task = stream.tasks
    with tempfile.TemporaryDirectory() as folder:
        ours = training(stream, folder, *MLP, "strategy=icarl", "strategy.buffer_size=500")
        strategy, network = ours.strategy, ours.strategy.network
        network.grow(first)
        again(ours, first)
        strategy.end_task(first)
        network.grow(task)
        strategy.begin_task(task)
        plain = copy.deepcopy(network)
        plain._forward_pre_hooks.clear()  # those that count the samples of the run
        teacher = copy.deepcopy(plain).eval()
        optimizer = ours.settings.optimizer(plain.parameters(), 1)
        data = strategy.training_data(stream, task)
        images, labels, rows = data.images, data.labels, data.rows
        assert isinstance(images, torch.Tensor)

        def by_hand() -> None:
            for batch in rows[torch.randperm(len(rows))].split(100):
                x, y = images[batch].float().div_(127.5).sub_(1), labels[batch]
                targets = F.one_hot(y, 10).float()
                with torch.no_grad():
                    targets[:, :5] = torch.sigmoid(teacher(x)[:, :5])
                losses = F.binary_cross_entropy_with_logits(plain(x), targets, reduction="none")
                optimizer.zero_grad(set_to_none=True)
                losses.sum(1).mean().backward()
                optimizer.step()

        ours.watch = Watch(task, ours.parameters)
        return interleaved(lambda: again(ours, task), by_hand)
