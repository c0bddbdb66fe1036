"""What a sweep saves by training the first task once: seconds with the shared store / without.

The sweep is experiment 1's α × T, 16 jobs of Learning without Forgetting on Fashion-MNIST 6 + 4
(with a network of two hidden layers, so that it takes minutes), one after another on one thread.
Both sides are the command that a user types and take turns in going first; without the store means
a folder of its own for each job. The results must be equal, bit for bit.

`python scripts/benchmark_sweep.py [--pairs N] dataset.root=FOLDER [KEY=VALUE ...]` prints the ratio
and exits 1 when the bar is missed. Settings given here replace the sweep's own.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmark import interleaved

BAR = 0.70
SWEEP = (
    "experiment=lwf_fashion_mnist_plain",
    "model=mlp",
    "model.widths=[512,512]",
    "strategy.alpha=0.5,1,2,5",
    "strategy.T=1,2,4,8",
)
ALONE = "first_task_cache=${output_root}/alone/${name}"


def main() -> None:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3, help="after one that warms up")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE")
    arguments = parser.parse_args()
    number = itertools.count()
    with tempfile.TemporaryDirectory() as folder:

        def swept(*settings: str) -> dict[str, bytes]:
            root = Path(folder, str(next(number)))
            words = [*SWEEP, *arguments.settings, *settings, f"output_root={root}"]
            command = [sys.executable, "-m", "cl_runner.train", "-m", *words]
            subprocess.run(
                command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            return {f.parent.name: f.read_bytes() for f in root.rglob("predictions.npz")}

        found = list[dict[str, bytes]]()
        ratio, low, high = interleaved(
            lambda: found.append(swept()), lambda: found.append(swept(ALONE)), arguments.pairs
        )
    if any(results != found[0] for results in found):
        sys.exit("the results differ")
    verdict = "MISSED" if ratio > BAR else "ok"
    title = f"{len(found[0])} jobs, first task once / each its own, n={arguments.pairs}"
    print(f"{title}: {ratio:.3f} [{low:.3f} … {high:.3f}]  bar {BAR:.2f}  {verdict}")
    sys.exit(ratio > BAR)


if __name__ == "__main__":
    main()
