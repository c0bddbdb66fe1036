"""When the means of `model.classifier=nearest_mean` are measured, and over which samples."""

from __future__ import annotations

import torch

from cl_runner.data.stream import Stream, Task
from cl_runner.models.network import Network, evaluation_mode
from cl_runner.strategies.parts.memory import Memory
from cl_runner.strategies.strategy import Strategy


def outdate(network: Network) -> None:
    """From now on the outputs decide, since training moves the network away from its means."""
    if network.nearest_mean is not None:
        network.nearest_mean.current.fill_(False)


@torch.no_grad()
def measure(strategy: Strategy, stream: Stream, task: Task) -> None:
    """Measure the class means when a task has ended; nothing where the outputs decide.

    The mean of a class is over the samples that the strategy's memory has of it. Where it has none,
    or the strategy has no memory, it is over those that were trained on in this task; a class that
    has none there either keeps its mean from an earlier task.
    """
    network = strategy.network
    if network.nearest_mean is None:
        return
    pixels, data = task.train.pixels, strategy.training_data(stream, task)
    memories = [module for module in strategy.modules() if isinstance(module, Memory)]
    parts = [memory.samples(pixels) for memory in memories]
    for stored in list(parts):
        data = data[~torch.isin(data.y, stored.y)]
    parts.append(data)
    chunks = (chunk for part in parts for chunk in part.chunks(1000))
    with evaluation_mode(network):
        network.nearest_mean.measure((network.features(chunk.x), chunk.y) for chunk in chunks)
