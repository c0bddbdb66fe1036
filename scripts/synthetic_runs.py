"""Runs on random pictures, set up to the point at which training begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from composing import composed
from torch import nn
from torch.nn import functional as F

from cl_runner.data.assemble import Cut, assemble
from cl_runner.data.samples import Pixels
from cl_runner.data.stream import Outline, Stream, Task
from cl_runner.run_folder.checkpoint import Checkpoints
from cl_runner.tracking.local import LocalFiles
from cl_runner.tracking.progress import Progress
from cl_runner.tracking.tracker import RunInfo, Trackers
from cl_runner.training.loop import Training
from cl_runner.training.run import build_strategy
from cl_runner.training.saver import Saver
from cl_runner.training.signals import Signals
from cl_runner.training.state import Position

MLP = ("model=mlp", "model.widths=[256,128]", "model.batch_norm=true", "optimizer=adam",
       "batch_size=100")  # fmt: skip
CNN = ("model=cnn", "optimizer=sgd", "optimizer.weight_decay=5e-4", "batch_size=64")
SHAPE = (1, 28, 28)


def synthetic(
    tasks: int, samples: int, shape: tuple[int, int, int] = SHAPE, split: bool = False
) -> Stream:
    """Tasks of random pictures of ten shared classes; only their number and size matter here.

    split: tasks share out the ten classes, in a class-incremental stream.
    """
    size = tasks * samples
    images = torch.randint(0, 256, (size, *shape), dtype=torch.uint8)
    order = torch.arange(size)
    each = 10 // tasks
    labels = order // samples * each + order % each if split else order % 10
    cut = Cut(images, labels, order // samples, order)
    pixels = Pixels(mean=[0.5], std=[0.5], padding=0, crop_padding=0, flip=False, per_picture=False)
    outline = _outline(tasks, shape, split)
    return assemble(outline, cut, cut, pixels, scope="seen", seed=0, device="cpu")


def _outline(tasks: int, shape: tuple[int, int, int], split: bool) -> Outline:
    if not split:
        return Outline("domain_incremental", ["t"] * tasks, [list(range(10))] * tasks, shape, 0)
    each = 10 // tasks
    classes = [list(range(task * each, (task + 1) * each)) for task in range(tasks)]
    return Outline("class_incremental", ["t"] * tasks, classes, shape, 0)


def training(stream: Stream, folder: str, *overrides: str) -> Training:
    """A run on this stream for one epoch, with the local files and the progress bar on."""
    settings, _ = composed(*overrides, "epochs=1")
    outline = stream.outline
    dataset = type("Fixed", (), {"outline": lambda self, seed: outline})()
    settings = replace(settings, dataset=dataset)
    strategy = build_strategy(settings)
    files = LocalFiles(Path(folder))
    saver = Saver(Checkpoints(Path(folder), ""), settings.checkpoint, files, Signals())
    trackers = begun(files, folder, ["t"])
    return Training(settings, stream, strategy, trackers, "benchmark", saver)


def begun(files: LocalFiles, folder: str, tasks: Sequence[str]) -> Trackers:
    """The trackers of a run with these tasks: its local files and the progress bar."""
    trackers = Trackers([files, Progress()])
    for tracker in trackers.trackers:
        tracker.begin(RunInfo(Path(folder), {}, {}, list(tasks), 1))
    return trackers


def ended(run: Training) -> None:
    """Close its files: each run adds a handler to the log."""
    for tracker in run.trackers.trackers:
        tracker.end(None, None)


def again(run: Training, task: Task) -> None:
    """All steps of the task, from its beginning."""
    run.position = Position(task.index)
    run.train(task)


def epoch_by_hand(
    network: nn.Module, optimizer: torch.optim.Optimizer, task: Task, batch_size: int
) -> Callable[[], None]:
    """The shortest loop over the samples of a task, in batches of this size."""
    images, labels = task.train.raw, task.train.y

    def epoch() -> None:
        for rows in torch.randperm(len(labels)).split(batch_size):
            x = images[rows].float().div_(127.5).sub_(1)
            loss = F.cross_entropy(network(x), labels[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return epoch
