"""Speed as ratios: against a hand-written loop, against bare imports, against Avalanche.

Every ratio is the median over pairs of measurements that alternate on one thread, so a noisy
machine disturbs both sides alike. `python scripts/benchmark.py` prints the table and exits 1 if a
ratio exceeds its bar. `--avalanche FOLDER` also compares with Avalanche 0.6.0, which it installs
into an environment of its own in FOLDER (the variable CL_DATA names the folder of Fashion-MNIST).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import benchmark_avalanche
import benchmark_features
import benchmark_memory
import benchmark_methods
import benchmark_precision
import benchmark_steps
import torch
from benchmark_checkpoint import checkpoints
from benchmark_ewc import ewc_flat, penalty_step
from benchmark_fisher import fisher
from benchmark_icarl import icarl_step
from benchmark_loop import loop
from benchmark_methods import method
from benchmark_online import online
from benchmark_precision import gain
from benchmark_startup import startup
from benchmark_steps import steps
from interleaving import Ratio, verdict
from synthetic_runs import CNN, MLP

PENALTY_STEPS = (
    ("a step of {} / fine-tuning's, MLP", 1.35, ("ours", "finetune")),
    ("the same by hand / fine-tuning's by hand ({}), MLP", 1.35, ("by hand", "finetune by hand")),
    ("a step of {} / the same by hand, MLP", 1.10, ("ours", "by hand")),
)
"""The second row shows what the first could reach."""


def main() -> None:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--avalanche", type=Path, metavar="FOLDER")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows with this in their title")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[tuple[str, float, Callable[[], Ratio]]] = [
        ("MLP, Adam, batch 100: cl-train's loop / by hand", 1.10, partial(loop, MLP)),
        ("CNN, SGD, batch 64: cl-train's loop / by hand", 1.10, partial(loop, CNN)),
        ("MLP, SGD, batch 10: cl-train's loop / by hand", 1.10, partial(online, 10)),
        ("MLP, SGD, batch 1: cl-train's loop / by hand", 1.10, partial(online, 1)),
        *(
            (title.format(strategy), bar, partial(penalty_step, strategy, pair))
            for strategy in ("ewc", "si")
            for title, bar, pair in PENALTY_STEPS
        ),
        *(
            (f"a step of {name} / its passes by hand, MLP", 1.10, partial(steps, name))
            for name in benchmark_steps.STRATEGIES
        ),
        ("a step of icarl / its passes by hand, MLP", 1.10, icarl_step),
        *(
            (f"three tasks of {name} / a loop by hand for it", 1.25, partial(method, name))
            for name in benchmark_methods.METHODS
        ),
        *(
            (
                f"what {option} leaves of {network}'s time / by hand",
                1.10,
                partial(gain, network, option),
            )
            for network in benchmark_precision.NETWORKS
            for option in benchmark_precision.OPTIONS
        ),
        (
            "the head of a frozen ResNet-18: on kept features / through it",
            1 / 20,
            benchmark_features.against_the_body,
        ),
        (
            "the head of a frozen ResNet-18 / a perceptron, 512 units",
            1.10,
            benchmark_features.against_a_perceptron,
        ),
        ("EWC's step at task 20 / at task 2", 1.05, ewc_flat),
        ("two checkpoints of experiment 1 / its training", 0.02, checkpoints),
        ("Fisher, 2,000 samples: ours / one backward pass each", 1 / 10, fisher),
        ("start to first step / imports: torch, torchvision", 1.3, partial(startup, "local")),
        ("the same with W&B / imports: also wandb", 1.5, partial(startup, "wandb")),
    ]
    if "CL_DATA" in os.environ:  # MNIST is needed
        title = "peak memory, 50 permutations of MNIST / one"
        rows.append((title, benchmark_memory.BAR, benchmark_memory.ratio))
    if arguments.avalanche is not None:
        python = benchmark_avalanche.install(arguments.avalanche)
        for name in benchmark_avalanche.STRATEGIES:
            title = f"split Fashion-MNIST, {name}: ours / Avalanche 0.6.0"
            rows.append((title, 1 / 5, partial(benchmark_avalanche.against, python, name)))
    met = [
        verdict(f"{title:56}", bar, measure())
        for title, bar, measure in rows
        if arguments.only in title
    ]
    sys.exit(not all(met))


if __name__ == "__main__":
    main()
