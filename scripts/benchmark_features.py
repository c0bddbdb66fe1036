"""Training the head of a frozen ResNet-18: on features computed once, and through its body.

Computing the features is not part of the time: a run does it once, a sweep too.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable

import torch
from interleaving import Ratio, interleaved
from synthetic_runs import again, synthetic, training
from torch.nn import functional as F

from cl_runner.data.stream import Task
from cl_runner.models.network import Network
from cl_runner.training.frozen_features import of_stream

HEAD = ("model=torchvision", "model.body=resnet18", "model.frozen=true", "optimizer=sgd",
        "batch_size=50", "strategy=finetune")  # fmt: skip
PERCEPTRON = ("model=mlp", "model.widths=[512]", "optimizer=sgd", "batch_size=50",
              "strategy=finetune")  # fmt: skip


def against_the_body() -> Ratio:
    """An epoch of 500 pictures of 32 × 32 on features / the same with the body at each step."""
    stream = synthetic(1, 500, (3, 32, 32))
    with tempfile.TemporaryDirectory() as folder:
        ours = training(stream, folder, *HEAD)
        network = ours.strategy.network
        ours.stream, _ = of_stream(stream, network, "cpu", {})
        network.grow(stream.tasks[0])
        (task,) = ours.stream.tasks
        through = epoch_through_the_body(network, stream.tasks[0])
        return interleaved(lambda: again(ours, task), through, pairs=5)


def against_a_perceptron() -> Ratio:
    """An epoch of 5,000 samples on features / of a perceptron with as many units, on pictures."""
    stream = synthetic(1, 5000, (3, 32, 32))
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        head, perceptron = training(stream, one, *HEAD), training(stream, other, *PERCEPTRON)
        features = synthetic(1, 5000, (1, 1, 512)).tasks[0]
        for run in (head, perceptron):
            run.strategy.network.grow(stream.tasks[0])
        return interleaved(
            lambda: again(head, features), lambda: again(perceptron, stream.tasks[0]), pairs=11
        )


def epoch_through_the_body(network: Network, task: Task) -> Callable[[], None]:
    """The shortest loop: the body without gradients, the head with them."""
    images, labels = task.train.raw, task.train.y
    optimizer = torch.optim.SGD(network.classifier.parameters(), 0.01)
    network.eval()

    def epoch() -> None:
        for rows in torch.randperm(len(labels)).split(50):
            with torch.no_grad():
                x = network.features_of_body(images[rows].float().div_(127.5).sub_(1))
            loss = F.cross_entropy(network(x), labels[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return epoch
