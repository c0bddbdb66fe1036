"""Runs in the test's own process, and their final state."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from cl_runner.config.paths import CONF
from cl_runner.run_folder.checkpoint import unpacked
from cl_runner.strategies.strategy import Strategy
from cl_runner.training.run import build_strategy, run
from cl_runner.training.settings import Settings, read

TINY = ("epochs=1", "batch_size=64", "model.widths=[8]", "output_root=.", "name=run")
NAMES = dict.fromkeys(
    ("experiment", "dataset", "model", "strategy", "optimizer", "scheduler", "tracker", "group"),
    "test",
)


def composed(*overrides: str) -> Settings:
    """The validated settings of a command line."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", ["name=unused", *overrides])
    return read(OmegaConf.to_container(config, resolve=True))


def run_here(folder: Path, *overrides: str) -> dict:
    """Run in this process. Returns the content of `results.json`."""
    run(composed("threads=1", *overrides), folder, config={}, names=NAMES)
    results: dict = json.loads((folder / "results.json").read_text())
    return results


def trained(folder: Path, *overrides: str) -> Strategy:
    """The strategy at the end of the complete run with these settings, in evaluation mode."""
    strategy = build_strategy(composed(*overrides))
    strategy.load_state_dict(final_state(folder)["strategy"])
    return strategy.eval()


def logged(folder: Path) -> list[dict[str, Any]]:
    """The events of its metrics.jsonl."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def final_state(folder: Path) -> dict[str, Any]:
    """The content of the only checkpoint of a complete run."""
    (file,) = (folder / "checkpoint").glob("*.ckpt")
    state: dict[str, Any] = torch.load(io.BytesIO(unpacked(file)[1]), weights_only=True)
    return state
