"""`make run`: five strategies, class- and task-incremental, on data that ships with scikit-learn.

Prints one table and writes the page.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from cl_runner.report.command import report
from cl_runner.report.paper.command import Wanted, table

BEFORE = """5 tasks of 2 digits each, learned one after another. At the end the network is asked
  class-incremental (Class-IL): which of all 10 digits is it?
  task-incremental (Task-IL):   which of the 2 digits of this task is it?
"""
AFTER = """
Where the task is given, EWC and LwF keep what fine-tuning forgets. Where it is not, only stored
samples (ER + KD) help. The page says by how much, how sure that is, and why:
  {page}

The real experiments, on Fashion-MNIST, MNIST and GTSRB:
  .venv/bin/cl-data prepare fashion_mnist
  .venv/bin/cl-train experiment=lwf_fashion_mnist
  .venv/bin/cl-train --help"""


def main() -> None:
    """Sweep as a user would, then show the table and write the page."""
    name = time.strftime("first_look_%Y-%m-%d_%H-%M-%S")
    folder = Path("outputs/sweeps") / name
    print(BEFORE, flush=True)
    # Networks this small are fastest on one thread, and much slower on two if the machine is busy.
    train = ["-m", "cl_runner.train", "-m", "sweep=first_look", "threads=1", f"name={name}"]
    quiet = ["hydra/hydra_logging=none"]
    trained = subprocess.run([sys.executable, *train, *quiet], stdout=subprocess.DEVNULL)
    if trained.returncode != 0:
        sys.exit(trained.returncode)
    output = folder / "report"
    text, _ = table([folder], output, Wanted(columns=["dataset.scenario"]))
    print(text)
    report([folder], output)
    print(AFTER.format(page=output / "report.html"))


if __name__ == "__main__":
    main()
