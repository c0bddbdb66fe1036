"""Whole methods against loops written for them: training, consolidation, evaluation.

The settings are those of the comparison with Avalanche, on three tasks of random pictures. It says
the same of any processor: what both sides compute is the same arithmetic.
"""

from __future__ import annotations

import copy
import tempfile
import time

import torch
from benchmark_avalanche_ours import SETTINGS
from interleaving import Ratio, interleaved
from synthetic_runs import ended, synthetic, training
from torch import Tensor, nn
from torch.nn import functional as F

from cl_runner.data.samples import Samples
from cl_runner.data.stream import Stream
from cl_runner.training.loop import Training

METHODS = tuple(SETTINGS)
STORED = 200


def method(name: str) -> Ratio:
    """Three tasks through the runner / through a loop for this method alone."""
    stream = synthetic(3, 12_000)

    def run(folder: str) -> Training:
        return training(stream, folder, *SETTINGS[name], "batch_size=100")

    def ours() -> float:
        with tempfile.TemporaryDirectory() as folder:
            fresh = run(folder)
            fresh.saver = None  # a loop by hand writes no checkpoints
            start = time.perf_counter()
            for task in stream.tasks:
                fresh.learn(task)
            seconds = time.perf_counter() - start
            ended(fresh)
            return seconds

    def theirs() -> float:
        with tempfile.TemporaryDirectory() as folder:
            fresh = run(folder)
            ended(fresh)
            network = fresh.strategy.network
        network.grow(stream.tasks[0])
        network._forward_pre_hooks.clear()  # those that count the samples of the run
        start = time.perf_counter()
        ByHand(name, network).learn(stream)
        return time.perf_counter() - start

    return interleaved(ours, theirs, pairs=5)


class ByHand:
    """One loop with the four methods in it, as short as it can be."""

    def __init__(self, name: str, network: nn.Module) -> None:
        self.name, self.network = name, network
        self.parameters = list(network.parameters())
        self.fisher = [torch.zeros_like(p) for p in self.parameters]
        self.anchor = [p.detach().clone() for p in self.parameters]
        self.teacher: nn.Module | None = None
        self.memory = torch.empty(0, dtype=torch.int64)

    def learn(self, stream: Stream) -> None:
        for t, task in enumerate(stream.tasks):
            images, labels = task.train.images, task.train.labels
            assert isinstance(images, Tensor)
            optimizer = torch.optim.Adam(self.parameters, lr=1e-3, fused=True)
            for rows in task.train.rows[torch.randperm(len(task.train))].split(100):
                loss = self.loss(images, labels, rows)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
            self.consolidate(images, labels, task.train.rows)
            for test in stream.test[: t + 1]:
                self.evaluate(test)

    def loss(self, images: Tensor, labels: Tensor, rows: Tensor) -> Tensor:
        if len(self.memory) > 0:
            rows = torch.cat([rows, self.memory[torch.randint(STORED, (100,))]])
        x = prepared(images[rows])
        logits: Tensor = self.network(x)
        loss = F.cross_entropy(logits, labels[rows])
        if self.teacher is not None:
            with torch.no_grad():
                p = F.log_softmax(self.teacher(x) / 2, dim=1)
            student = F.log_softmax(logits / 2, dim=1)
            loss = loss + F.kl_div(student, p, reduction="batchmean", log_target=True)
        if self.name == "ewc":
            for p, f, a in zip(self.parameters, self.fisher, self.anchor, strict=True):
                loss = loss + (f * (p - a).square()).sum()
        return loss

    def consolidate(self, images: Tensor, labels: Tensor, rows: Tensor) -> None:
        if self.name == "replay":
            self.memory = rows[torch.randperm(len(rows))[:STORED]]
        if self.name == "lwf":
            self.teacher = copy.deepcopy(self.network).requires_grad_(False)
        if self.name == "ewc":
            batches = rows.split(100)
            for batch in batches:
                loss = F.cross_entropy(self.network(prepared(images[batch])), labels[batch])
                for f, g in zip(
                    self.fisher, torch.autograd.grad(loss, self.parameters), strict=True
                ):
                    f += g.square() / len(batches)
            self.anchor = [p.detach().clone() for p in self.parameters]

    @torch.no_grad()
    def evaluate(self, test: Samples) -> float:
        assert isinstance(test.images, Tensor)
        parts = test.rows.split(1000)
        hits = [self.network(prepared(test.images[r])).argmax(1) == test.labels[r] for r in parts]
        return float(torch.cat(hits).float().mean())


def prepared(images: Tensor) -> Tensor:
    return images.float().div_(127.5).sub_(1)
