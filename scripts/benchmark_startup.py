"""The start of `cl-train`, up to its first training step, against the imports that it needs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

from interleaving import Ratio, interleaved

STOP = "import os, cl_runner.training.run as r; r.Training._step = lambda *a: os._exit(0)"
COMMAND = f"{STOP}; from cl_runner.train import main; main()"


def startup(tracker: str) -> Ratio:
    """From the command to the first step / the imports alone."""
    modules = "torch, torchvision" + (", wandb" if tracker == "wandb" else "")
    dataset = "split_fashion_mnist" if "CL_DATA" in os.environ else "digits"
    with tempfile.TemporaryDirectory() as folder:
        words = [f"dataset={dataset}", f"tracker={tracker}", f"output_root={folder}"]
        ours = [sys.executable, "-c", COMMAND, *words]
        imports = [sys.executable, "-c", f"import {modules}"]
        return interleaved(
            lambda: subprocess.run(ours, check=True),
            lambda: subprocess.run(imports, check=True),
            pairs=5,
        )
