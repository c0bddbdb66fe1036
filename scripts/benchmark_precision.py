"""What bf16 and channels_last gain: ours, relative to a loop by hand on the same network.

Ours is rehearsal with distillation: training with replay and a teacher, then an evaluation.
"""

from __future__ import annotations

import copy
import statistics
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import torch
from interleaving import Ratio, timed
from synthetic_runs import again, synthetic, training
from torch import nn
from torch.nn import functional as F

from cl_runner.data.stream import Stream, Task
from cl_runner.training.loop import Training

NETWORKS = {
    "experiment 1": ("model=cnn", "optimizer=sgd"),
    "experiment 3": ("model=cnn_leaky", "model.dropout=0.5", "optimizer=adam"),
}
OPTIONS = {
    "bf16": ("precision=bf16",),
    "channels_last": ("memory_format=channels_last",),
    "both": ("precision=bf16", "memory_format=channels_last"),
}
RUN = ("strategy=rehearsal_kd", "strategy.distil_on=both", "strategy.buffer_size=200",
       "strategy.replay_batch_size=64", "batch_size=64")  # fmt: skip
SHAPES = {"experiment 1": (1, 28, 28), "experiment 3": (3, 32, 32)}


def gain(network: str, option: str, pairs: int = 7) -> Ratio:
    """The share of its time that is left to ours with the option / that is left to a loop by hand.

    Prints both as gains, how many times as fast."""
    with tempfile.TemporaryDirectory() as folder:
        stream = synthetic(2, 256, SHAPES[network])
        sides: dict[str, Callable[[], None]] = {}
        for words, name in (((), "plain"), (OPTIONS[option], "with")):
            settings = (*NETWORKS[network], *RUN, *words)
            Path(folder, name).mkdir()
            run = training(stream, f"{folder}/{name}", *settings)
            run.strategy.network.grow(stream.tasks[0])
            run.strategy.end_task(stream.tasks[0])
            task = stream.tasks[1]

            sides[f"ours {name}"] = partial(ours, run, task)
            plain = copy.deepcopy(run.strategy.network)
            plain.compute_in("float32", "contiguous")
            plain._forward_pre_hooks.clear()
            optimizer = run.settings.optimizer(plain.parameters(), 1)
            sides[f"hand {name}"] = by_hand(plain, optimizer, stream, words)
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        for pair in range(-1, pairs):  # the first warms up
            for side in sides if pair % 2 else reversed(sides):
                took = timed(sides[side])
                if pair >= 0:
                    seconds[side].append(took)
    gains = {
        side: statistics.median(
            a / b for a, b in zip(seconds[f"{side} plain"], seconds[f"{side} with"], strict=True)
        )
        for side in ("ours", "hand")
    }
    print(f"  {network}, {option}: ours {gains['ours']:.2f} x, by hand {gains['hand']:.2f} x")
    order = ("ours with", "ours plain", "hand with", "hand plain")
    rounds = zip(*(seconds[side] for side in order), strict=True)
    ratios = [(a / b) / (c / d) for a, b, c, d in rounds]
    return statistics.median(ratios), min(ratios), max(ratios)


def ours(run: Training, task: Task) -> None:
    """The steps of the task, and an evaluation."""
    again(run, task)
    run.evaluator.within_task(run.strategy, task)


def by_hand(
    network: nn.Module, optimizer: torch.optim.Optimizer, stream: Stream, words: tuple[str, ...]
) -> Callable[[], None]:
    """The batches of the second task with as many stored samples, a teacher, and an evaluation."""
    last = "memory_format=channels_last" in words
    order = torch.channels_last if last else torch.contiguous_format
    network.to(memory_format=order)
    teacher = copy.deepcopy(network).eval()
    task = stream.tasks[1]
    images, labels = task.train.images, task.train.labels
    assert isinstance(images, torch.Tensor)

    def cast() -> AbstractContextManager[object]:
        return torch.autocast("cpu", torch.bfloat16) if "precision=bf16" in words else nullcontext()

    def prepared(rows: torch.Tensor) -> torch.Tensor:
        return images[rows].float().div_(127.5).sub_(1).contiguous(memory_format=order)

    def epoch() -> None:
        network.train()
        for batch in task.train.rows[torch.randperm(len(task.train))].split(64):
            rows = torch.cat([batch, torch.randint(200, (64,))])
            x = prepared(rows)
            with cast():
                logits = network(x).float()
                with torch.no_grad():
                    p = F.softmax(teacher(x).float() / 2, dim=1)
            loss = F.cross_entropy(logits, labels[rows]) + 4 * F.cross_entropy(logits / 2, p)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        network.eval()
        with torch.no_grad(), cast():
            for test in stream.test:
                for rows in test.rows.split(1000):
                    network(prepared(rows)).argmax(1)

    return epoch
