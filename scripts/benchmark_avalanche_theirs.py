"""Avalanche's side of the comparison: seconds for three tasks of split Fashion-MNIST.

Runs in an environment of its own, made by `benchmark_avalanche.py`. Everything is Avalanche's
default, except that logging and metrics are off.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import torch
from avalanche.benchmarks import nc_benchmark
from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.supervised import EWC, LwF, Naive, Replay
from torch import nn
from torchvision import datasets, transforms

EXTRA: dict[str, tuple[Any, dict[str, Any]]] = {
    "naive": (Naive, {}),
    "ewc": (EWC, {"ewc_lambda": 1.0}),
    "lwf": (LwF, {"alpha": 1.0, "temperature": 2.0}),
    "replay": (Replay, {"mem_size": 200}),
}


def main() -> None:
    """Print the seconds of training."""
    torch.set_num_threads(1)
    normalise = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((0.286,), (0.353,))]
    )
    train, test = (
        datasets.FashionMNIST(os.environ["CL_DATA"], train=part) for part in (True, False)
    )
    benchmark = nc_benchmark(
        train,
        test,
        n_experiences=5,
        task_labels=False,
        fixed_class_order=list(range(10)),
        train_transform=normalise,
        eval_transform=normalise,
    )
    network = nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, 256),
        nn.ReLU(),
        nn.Linear(256, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )
    build, settings = EXTRA[sys.argv[1]]
    strategy = build(
        model=network,
        optimizer=torch.optim.Adam(network.parameters(), lr=1e-3, fused=True),
        criterion=nn.CrossEntropyLoss(),
        train_mb_size=100,
        train_epochs=1,
        evaluator=EvaluationPlugin(loggers=[]),
        **settings,
    )
    start = time.perf_counter()
    for experience in benchmark.train_stream[:3]:
        strategy.train(experience)
    print(time.perf_counter() - start)


if __name__ == "__main__":
    main()
