"""A tiny stream and a tiny network: three tasks of two classes, pictures of 4 × 4 pixels."""

from __future__ import annotations

import torch

from cl_runner.data.assemble import Cut, assemble
from cl_runner.data.batches import Batch, batches
from cl_runner.data.samples import Pixels
from cl_runner.data.stream import Outline, Stream
from cl_runner.models.mlp import mlp
from cl_runner.models.network import Network

SHAPE = (1, 4, 4)


def tiny_stream(
    scenario: str = "class_incremental",
    scope: str = "seen",
    *,
    tasks: int = 3,
    samples: int = 40,
    seed: int = 0,
    crop_padding: int = 0,
    flip: bool = False,
    blurry: float = 0.0,
    repetition: float = 0.0,
) -> Stream:
    """Three tasks of two classes; each class is its own blurred pattern of 4 × 4 pixels."""
    domain = scenario == "domain_incremental"
    labels = [[0, 1]] * tasks if domain else [[2 * t, 2 * t + 1] for t in range(tasks)]
    mixing = {"blurry": blurry, "repetition": repetition}
    outline = Outline(scenario, [f"t{t}" for t in range(tasks)], labels, SHAPE, 0.0, **mixing)
    cuts = []
    for split in (0, 1):
        draw = torch.Generator().manual_seed(split)
        patterns = torch.randint(0, 200, (2 * tasks, *SHAPE), generator=torch.manual_seed(7))
        kind = torch.arange(2 * tasks).repeat_interleave(samples)
        noise = torch.randint(0, 56, (len(kind), *SHAPE), generator=draw)
        images = (patterns[kind] + noise).to(torch.uint8)
        cuts.append(Cut(images, kind % 2 if domain else kind, kind // 2, torch.arange(len(kind))))
    pixels = Pixels(
        mean=[0.5], std=[0.5], padding=0, crop_padding=crop_padding, flip=flip, per_picture=False
    )
    return assemble(outline, *cuts, pixels, scope=scope, seed=seed, device="cpu")


def tiny_network(
    classes: int = 6,
    *,
    batch_norm: bool = False,
    new_rows: str = "zero",
    classifier: str = "linear",
    inserted_layer: str = "none",
) -> Network:
    """For the tiny stream, whose tasks bring two classes each."""
    torch.manual_seed(3)
    settings = {
        "widths": [8],
        "activation": "relu",
        "batch_norm": batch_norm,
        "freeze_statistics": False,
    }
    network = mlp(
        SHAPE,
        classes,
        **settings,
        init="default",
        classifier=classifier,
        new_rows=new_rows,
        inserted_layer=inserted_layer,
    )
    return by_twos(network)


def by_twos(network: Network) -> Network:
    """The same network, with a classifier that grows by two rows at a time."""
    network.classifier.split([2] * (network.classes // 2))
    return network


def first_batch(stream: Stream, task: int, size: int = 16) -> Batch:
    chosen = stream.tasks[task]
    return next(iter(batches(chosen.train, chosen, epoch=0, batch_size=size)))
