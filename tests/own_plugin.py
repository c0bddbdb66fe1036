"""An installed plugin, as pip would leave it: a package, and what it declares."""

from __future__ import annotations

from pathlib import Path

STRATEGY = '''
from cl_runner.config.setting_types import NonNegative
from cl_runner.strategies.finetune import Finetune


class Rot(Finetune):
    """Fine-tuning by another name."""

    def __init__(self, network, *, weight: NonNegative) -> None:
        super().__init__(network)
'''
METRICS = '''
from cl_runner.measures import SHARE
from cl_runner.metrics import metric


@metric(SHARE, more_is_better=True)
def first_task_kept(R):
    """The accuracy on the first task after the last one."""
    return R[-1][0]
'''
SUITE = """
title: fine-tuning twice
source: nobody
minutes: 1
seeds: [0]
common: [epochs=1, dataset.tasks=2, batch_size=100, "model.widths=[8]"]
runs: {rot: [strategy=rot]}
rows: [{row: rot, run: rot, metric: first_task_kept}]
"""


def install(site: Path, distribution: str = "rot-methods", value: str = "rotting") -> Path:
    """Into a folder of installed packages. Returns the folder of the package `rotting`, whose
    plugin is called `rot`."""
    package = site / "rotting"
    files = {
        package / "__init__.py": "",
        package / "strategy.py": STRATEGY,
        package / "metrics.py": METRICS,
        package / "conf/strategy/rot.yaml": "# Rotting.\n_target_: rotting.strategy.Rot\n"
        "weight: 2.0  # of nothing\n",
        package / "suites/rotten.yaml": SUITE,
        site / f"{distribution.replace('-', '_')}-1.2.dist-info/METADATA": "Metadata-Version: 2.1\n"
        f"Name: {distribution}\nVersion: 1.2\n",
        site / f"{distribution.replace('-', '_')}-1.2.dist-info/entry_points.txt": (
            f"[cl_runner.plugins]\nrot = {value}\n"
        ),
    }
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return package
