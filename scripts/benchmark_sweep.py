"""What a sweep saves by training the first task only once: seconds with a shared cache / without.

The sweep is experiment 1's α × T: 16 jobs of Learning without Forgetting on Fashion-MNIST 6 + 4,
with a network of two hidden layers so that it takes minutes, one after another on one thread. Both
sides are the command that a user types, and alternate in going first. Without a shared cache, each
job has a cache folder of its own. The results must be equal, bit for bit.

`python scripts/benchmark_sweep.py [--pairs N] dataset.root=FOLDER [KEY=VALUE ...]` prints the ratio
and exits 1 if it exceeds the bar. Settings given here replace the sweep's own.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
from pathlib import Path

from interleaving import interleaved, verdict

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
    parser.add_argument(
        "--pairs", type=int, default=3, help="of measurements, after one that warms up"
    )
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE")
    arguments = parser.parse_args()
    number = itertools.count()
    with tempfile.TemporaryDirectory() as folder:

        def swept(*settings: str) -> dict[str, bytes]:
            """Run the sweep; the predictions of each job, by its folder."""
            root = Path(folder, str(next(number)))
            words = [*SWEEP, *arguments.settings, *settings, f"output_root={root}"]
            command = [sys.executable, "-m", "cl_runner.train", "-m", *words]
            subprocess.run(
                command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            return {f.parent.name: f.read_bytes() for f in root.rglob("predictions.npz")}

        results = list[dict[str, bytes]]()
        ratio = interleaved(
            lambda: results.append(swept()), lambda: results.append(swept(ALONE)), arguments.pairs
        )
    if any(of_sweep != results[0] for of_sweep in results):
        sys.exit("the results differ")
    title = f"{len(results[0])} jobs, first task once / once per job, n={arguments.pairs}:"
    sys.exit(not verdict(title, BAR, ratio))


if __name__ == "__main__":
    main()
