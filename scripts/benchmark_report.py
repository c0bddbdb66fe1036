"""How long `cl-report` takes for 500 runs: 100 settings with five seeds each. The goal is 10 s."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from cl_runner.run_folder import read

SETTINGS = [(alpha, T) for alpha in range(10) for T in range(1, 11)]
SEEDS = range(5)
TINY = ["strategy=lwf", "epochs=1", "model.widths=[8]", "dataset.validation_fraction=0.2"]


def main() -> None:
    """Train one run, write 500 variations with other settings and numbers, report on them."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "runs"
        train = [sys.executable, "-m", "cl_runner.train", *TINY, f"output_root={place}", "name=one"]
        subprocess.run(train, check=True, capture_output=True)
        spread_out(Path(place) / "one", folder)
        for _ in range(3):
            start = time.monotonic()
            report = [sys.executable, "-m", "cl_runner.report.command", str(folder)]
            subprocess.run(report, check=True, stdout=subprocess.DEVNULL)
            print(f"500 runs: {time.monotonic() - start:.1f} s (goal: 10)", flush=True)


def spread_out(run: Path, folder: Path) -> None:
    """Write copies of a run, each with its own setting, seed and accuracy."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    results = read.results(run).document()
    draw = random.Random(0)
    for alpha, T in SETTINGS:
        for seed in SEEDS:
            copy = folder / f"{alpha}-{T}-{seed}"
            copy.mkdir(parents=True)
            shutil.copy(run / "status.json", copy)
            config["seed"] = results["seed"] = seed
            config["strategy"] |= {"alpha": float(alpha), "T": float(T)}
            results["average_accuracy"] = draw.gauss(0.5 + alpha / 50, 0.02)
            (copy / "config.yaml").write_text(yaml.safe_dump(config))
            (copy / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main()
