"""Planted faults: data sets, networks and strategies that are wrong in one way each."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn

from cl_runner.config.targets import target
from cl_runner.data.batches import Batch
from cl_runner.data.digits import Digits
from cl_runner.data.source import Split
from cl_runner.models.network import Network
from cl_runner.strategies.finetune import Finetune
from cl_runner.strategies.parts.losses import task_loss
from cl_runner.strategies.strategy import Strategy


def _with(images: Tensor, row: int, value: float) -> Tensor:
    changed = images.clone()
    changed[row] = value
    return changed


FAULTS: dict[str, Callable[[Split], Split]] = {
    "a task without samples": lambda s: Split(s.images[s.labels > 1], s.labels[s.labels > 1]),
    "a class without samples": lambda s: Split(s.images[s.labels != 7], s.labels[s.labels != 7]),
    "label 10": lambda s: Split(s.images, _with(s.labels, 5, 10)),
    "label -1": lambda s: Split(s.images, _with(s.labels, 5, -1)),
    "label -100": lambda s: Split(s.images, _with(s.labels, 5, -100)),
    "label NaN": lambda s: Split(s.images, _with(s.labels.float(), 5, torch.nan)),
    "label 2.5": lambda s: Split(s.images, _with(s.labels.float(), 5, 2.5)),
    "a label too few": lambda s: Split(s.images, s.labels[:-1]),
    "a pixel NaN": lambda s: Split(_with(s.images.float(), 9, torch.nan), s.labels),
}


@target
class Source:
    """The digits, with a fault in the training or the test split."""

    name = "faulty"
    classes = 10
    shape = (1, 8, 8)

    def __init__(self, *, fault: str, split: str) -> None:
        self.change, self.split = FAULTS[fault], split

    def load(self, root: str) -> tuple[Split, Split]:
        train, test = Digits().load(root)
        if self.split == "train":
            return self.change(train), test
        return train, self.change(test)


@target
def eleven_outputs(shape: tuple[int, int, int], classes: int) -> Network:
    return Network(nn.Flatten(), shape, 64, classes + 1, init="default", new_rows="zero")


@target
def colour_only(shape: tuple[int, int, int], classes: int) -> Network:
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())
    return Network(body, shape, 144, classes, init="default", new_rows="zero")


@target
def no_network(shape: tuple[int, int, int], classes: int) -> nn.Module:
    return nn.Linear(64, classes)


class _InfiniteGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.shape = x.shape
        return 0 * x.sum()

    @staticmethod
    def backward(ctx, gradient):
        return torch.full(ctx.shape, torch.inf)


class Failing(Strategy):
    """Fine-tuning with a `fault` at the second task's third step, or when it predicts."""

    def __init__(self, network: Network, *, fault: str) -> None:
        super().__init__(network)
        self.fault = fault

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        loss = task_loss(self.network(batch.x), batch)
        if batch.position[1:] == (1, 0, 2):
            theta = self.network.classifier.weights[0]
            if self.fault == "no memory":
                torch.empty(1 << 50)
            loss = (
                loss
                + {
                    "loss NaN": lambda: theta.sum() * torch.nan,
                    "loss inf": lambda: theta.sum().abs() + torch.inf,
                    "gradient inf": lambda: _InfiniteGradient.apply(theta),
                }.get(self.fault, lambda: 0.0)()
            )
        return {"task": loss}

    def predict(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x)
        dead = self.fault == "output NaN" and self.network.classifier.born > 1
        return logits * torch.nan if dead else logits


class Signalling(Finetune):
    """Fine-tuning that is sent signals, one after another, within the second task's third step."""

    def __init__(self, network: Network, *, signals: list[str]) -> None:
        super().__init__(network)
        self.signals = signals

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        if batch.position[1:] == (1, 0, 2) and "GO_ON" not in os.environ:
            for name in self.signals:
                os.kill(os.getpid(), signal.Signals[name])
        return super().objective(batch)


def _abort() -> None:
    faulthandler.disable()  # pytest's would print the whole stack among the dots of the tests
    os.abort()


class Ending(Finetune):
    """Fine-tuning that ends its process within the second task's third step."""

    def __init__(self, network: Network, *, end: str) -> None:
        super().__init__(network)
        self.end = end

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        if batch.position[1:] == (1, 0, 2) and "GO_ON" not in os.environ:
            {"abort": _abort, "exit": lambda: os._exit(0), "leave": lambda: sys.exit(0)}.get(
                self.end, lambda: None
            )()
        return super().objective(batch)
