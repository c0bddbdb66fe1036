"""Each strategy's steps in the second task against the same passes through the network by hand."""

from __future__ import annotations

import copy
import tempfile
from dataclasses import dataclass

import torch
from interleaving import Ratio, interleaved
from synthetic_runs import MLP, again, synthetic, training
from torch.nn import functional as F

from cl_runner.training.alarm import Watch

REPLAYED = 100


@dataclass(frozen=True)
class Passes:
    """What a step sends through the network, beside the batch of the task."""

    together: int = 0  # stored samples in the same pass as the batch
    apart: int = 0  # passes of their own over stored samples, forward and backward
    teacher: bool = False  # whether a frozen copy sees what the first pass sees


MEMORY = ("strategy.buffer_size=500", f"strategy.replay_batch_size={REPLAYED}")
STRATEGIES: dict[str, tuple[Passes, tuple[str, ...]]] = {
    "finetune": (Passes(), ()),
    "lwf": (Passes(teacher=True), ()),
    "rehearsal": (Passes(together=REPLAYED), MEMORY),
    "rehearsal_kd": (
        Passes(together=REPLAYED, teacher=True),
        (*MEMORY, "strategy.distil_on=both"),
    ),
    "agem": (Passes(apart=1), MEMORY),
    "derpp": (Passes(apart=2), MEMORY),
}


def steps(strategy: str) -> Ratio:
    """Through the runner's loop / by hand, with the same sizes of batches."""
    passes, settings = STRATEGIES[strategy]
    stream = synthetic(2, 5_000)
    first, task = stream.tasks
    with tempfile.TemporaryDirectory() as folder:
        ours = training(stream, folder, *MLP, f"strategy={strategy}", *settings)
        network = ours.strategy.network
        network.grow(first)
        again(ours, first)
        ours.strategy.end_task(first)
        ours.strategy.begin_task(task)
        plain = copy.deepcopy(network)
        plain._forward_pre_hooks.clear()  # those that count the samples of the run
        teacher = copy.deepcopy(plain).eval()
        optimizer = ours.settings.optimizer(plain.parameters(), 1)
        images, labels = task.train.images, task.train.labels
        assert isinstance(images, torch.Tensor)

        def prepared(rows: torch.Tensor) -> torch.Tensor:
            return images[rows].float().div_(127.5).sub_(1)

        def by_hand() -> None:
            for batch in task.train.index[torch.randperm(len(task.train))].split(100):
                rows = torch.cat([batch, torch.randint(500, (passes.together,))])
                x = prepared(rows)
                logits = plain(x)
                loss = F.cross_entropy(logits, labels[rows])
                if passes.teacher:
                    with torch.no_grad():
                        p = F.softmax(teacher(x) / 2, dim=1)
                    loss = loss + 4 * F.cross_entropy(logits / 2, p)
                for _ in range(passes.apart):
                    rows = torch.randint(500, (REPLAYED,))
                    loss = loss + F.cross_entropy(plain(prepared(rows)), labels[rows])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()

        ours.watch = Watch(task, ours.parameters)
        return interleaved(lambda: again(ours, task), by_hand)
