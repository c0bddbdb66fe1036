"""Our strategies against Avalanche's, on three tasks of split Fashion-MNIST."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import torch
from interleaving import Ratio, interleaved

STRATEGIES = ("naive", "ewc", "lwf", "replay")
HERE = Path(__file__).parent


def install(folder: Path) -> Path:
    """An environment with Avalanche that shares this environment's torch. Returns its Python."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        site = next((folder / "lib").glob("python*/site-packages"))
        (site / "shared.pth").write_text(str(Path(torch.__file__).parent.parent))
        subprocess.run([python, "-m", "pip", "install", "-q", "avalanche-lib==0.6.0"], check=True)
    return python


def against(python: Path, strategy: str) -> Ratio:
    """Ours, with evaluation / theirs, without. One epoch per task."""

    def seconds(*command: str) -> float:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return float(json.loads(done.stdout.splitlines()[-1]))

    ours = [sys.executable, str(HERE / "benchmark_avalanche_ours.py"), strategy]
    theirs = [str(python), "-W", "ignore", str(HERE / "benchmark_avalanche_theirs.py"), strategy]
    return interleaved(lambda: seconds(*ours), lambda: seconds(*theirs), pairs=5)
