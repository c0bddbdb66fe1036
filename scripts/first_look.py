"""`make run`: five strategies on data that ships with scikit-learn, in one table and one page."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

STRATEGIES = "finetune,lwf,ewc,rehearsal_kd,joint"
NEXT = """
The real experiments, on Fashion-MNIST, MNIST and GTSRB:
  .venv/bin/cl-data prepare fashion_mnist
  .venv/bin/cl-train experiment=lwf_fashion_mnist
  .venv/bin/cl-train --help"""


def main() -> None:
    """Sweep over the strategies as a user would, then show the table."""
    name = time.strftime("first_look_%Y-%m-%d_%H-%M-%S")
    folder = Path("outputs/sweeps") / name
    print("5 tasks of 2 digits each, learned one after another by one network;")
    print("at the end it must choose among all 10 digits (class-incremental).\n", flush=True)
    # Networks this small are fastest on one thread, and much slower on two if the machine is busy.
    sweep = ["-m", f"strategy={STRATEGIES}", "threads=1", f"name={name}"]
    quiet = ["hydra/hydra_logging=none"]
    train = [sys.executable, "-m", "cl_runner.train", *sweep, *quiet]
    trained = subprocess.run(train, capture_output=True, text=True)
    if trained.returncode != 0:
        sys.exit(trained.stderr)
    report = [sys.executable, "-m", "cl_runner.report.command", str(folder)]
    output = subprocess.run(report, check=True, stdout=subprocess.PIPE, text=True).stdout
    print(output.rpartition("\n\n")[0])
    print(f"\nThe report: {folder}/report/report.html")
    print(NEXT)


if __name__ == "__main__":
    main()
