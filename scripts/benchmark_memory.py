"""Memory of a run of many permutations of MNIST, as a ratio to that of one.

    python scripts/benchmark_memory.py [TASKS ...]

Prints the peak of a whole `cl-train` for each number of tasks (1, 10 and 50) and exits with 1 if
the last takes more than 1.15 times that of the first. Needs MNIST in the folder CL_DATA.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

BAR = 1.15
RUN = ("dataset=permuted_mnist", "strategy=finetune", "model=mlp", "epochs=1", "batch_size=1000",
       "threads=1", "output_root=.", "name=run")  # fmt: skip
CHILD = (
    "import resource, runpy, sys; sys.argv[0] = 'cl-train'\n"
    "try: runpy.run_module('cl_runner.train', run_name='__main__')\n"
    "finally: open('peak', 'w').write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))"
)


def peak(tasks: int) -> float:
    """MiB that a run of so many tasks held at most."""
    data = str(Path(os.environ["CL_DATA"]).resolve())
    with TemporaryDirectory() as folder:
        words = (*RUN, f"dataset.tasks={tasks}", f"dataset.root={data}")
        command = [sys.executable, "-c", CHILD, *words]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
        kibibytes = int(Path(folder, "peak").read_text())
    return kibibytes / (1024**2 if sys.platform == "darwin" else 1) / 1024


def ratio() -> tuple[float, float, float]:
    """The peak of 50 permutations / of one, for the table of `benchmark.py`."""
    measured = peak(50) / peak(1)
    return measured, measured, measured


def main() -> None:
    """Measure, print, judge."""
    numbers = [int(word) for word in sys.argv[1:]] or [1, 10, 50]
    peaks = []
    for tasks in numbers:
        peaks.append(peak(tasks))
        ratio = peaks[-1] / peaks[0]
        print(f"{tasks:3} permutations: {peaks[-1]:6.0f} MiB  {ratio:.3f}", flush=True)
    sys.exit(peaks[-1] / peaks[0] > BAR)


if __name__ == "__main__":
    main()
