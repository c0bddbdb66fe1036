"""The alarm's campaign: no false alarm for anything shipped, an alarm for every planted fault.

    python scripts/alarm_campaign.py

Runs every strategy in every scenario and scope with every optimizer, at usual and small learning
rates, and every preset, with few samples, one network and one or two epochs: none may raise an
alarm. Prints the largest gradient of each term in a task as a share of the largest gradient of any
term. Exits 1 if an alarm was wrong or missing. Presets run on made-up pictures, so no data set is
needed.
"""

from __future__ import annotations

import io
import math
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from alarm_faults import FAULTS, Fault
from composing import composed
from torch import Tensor

from cl_runner.config.paths import CONF
from cl_runner.data import cuts
from cl_runner.data.source import Source, Split
from cl_runner.training import run as run_module
from cl_runner.training.alarm import Watch
from cl_runner.training.run import run
from cl_runner.training.settings import Settings

PARTS = ("experiment", "dataset", "model", "strategy", "optimizer", "scheduler", "tracker", "group")
STRATEGIES = ("finetune", "joint", "lwf", "kd", "ewc", "si", "rehearsal", "rehearsal_kd", "gdumb")
STREAMS = {
    "class-incremental, all": ("dataset=digits", "ce_scope=all"),
    "class-incremental, seen": ("dataset=digits", "ce_scope=seen"),
    "class-incremental, new": ("dataset=digits", "ce_scope=new"),
    "task-incremental": ("dataset=digits", "dataset.scenario=task_incremental"),
    "domain-incremental": ("dataset=digits", "dataset.scenario=domain_incremental"),
    "regression": ("dataset=regression_rbf", "model.activation=sigmoid"),
}
OPTIMIZERS = {
    "sgd": ("optimizer=sgd", "optimizer.lr=0.002"),  # the default is above EWC's stability limit
    "adam": ("optimizer=adam",),
    "adamw": ("optimizer=adamw",),
    "sgd, lr 1e-4": ("optimizer=sgd", "optimizer.lr=1e-4"),
    "adam, lr 1e-4": ("optimizer=adam", "optimizer.lr=1e-4"),
}
TINY = ("epochs=2", "batch_size=64", "model.widths=[32]")
SAMPLES = 20  # per class, of made-up pictures
Shares = dict[str, float]


class Thorough(Watch):
    """Keeps looking to the end of the task, even when all terms are known to have a gradient."""

    ended: ClassVar[list[Thorough]] = []

    def look(self, terms: dict[str, Tensor]) -> None:
        limit, self.least = self.least, math.inf
        super().look(terms)
        self.least = limit

    def alarms(self, strategy: str) -> list[tuple[str, str]]:
        self.ended.append(self)
        return super().alarms(strategy)


def main() -> int:
    """Print one line per combination, then the tables; return the exit code."""
    setattr(run_module, "Watch", Thorough)  # noqa: B010
    runs = list(shipped())
    wrong = 0
    weakest: dict[tuple[str, str], tuple[float, str]] = {}
    for name, overrides in runs:
        alarms, shares = tried(settings_of(*overrides))
        wrong += bool(alarms)
        words = "  ".join(f"{term} {share:.1e}" for term, share in shares.items())
        print(f"{name:60} {words}", *alarms, sep="\n    ALARM: " if alarms else "")
        strategy = name.split(",")[0]
        for term, share in shares.items():
            key = (strategy, term)
            weakest[key] = min(weakest.get(key, (math.inf, "")), (share, name))
    print(f"\n{len(runs)} runs of what is shipped, {wrong} with a false alarm")
    print("\n| strategy, term | smallest share of the largest gradient | where |\n|---|---|---|")
    for (strategy, term), (share, name) in sorted(weakest.items(), key=lambda item: item[1]):
        print(f"| {strategy}, {term} | {share:.1e} | {name} |")
    missed = sum(not seen(fault) for fault in FAULTS)
    print(f"\n{len(FAULTS)} planted faults, {missed} missed")
    return int(wrong + missed > 0)


def shipped() -> Iterator[tuple[str, list[str]]]:
    """The name and overrides of every combination and every preset."""
    for strategy in STRATEGIES:
        for stream, of_stream in STREAMS.items():
            for optimizer, of_optimizer in OPTIMIZERS.items():
                name = f"{strategy}, {stream}, {optimizer}"
                yield name, [*TINY, f"strategy={strategy}", *of_stream, *of_optimizer]
    for file in sorted((CONF / "experiment").glob("*.yaml")):
        yield f"{file.stem}, preset", [f"experiment={file.stem}", "batch_size=32", *fewer(file)]


def fewer(file: Path) -> list[str]:
    """Two epochs, unless the preset has phases with epochs of their own."""
    return [] if "later_phases" in file.read_text() else ["epochs=2"]


def seen(fault: Fault) -> bool:
    """Print one line; whether the fault raises an alarm in each task after the first."""
    settings = settings_of(*TINY, "dataset.tasks=3", *fault.overrides)
    target = fault.plant(settings.strategy.target)
    settings = replace(settings, strategy=replace(settings.strategy, target=target))
    if fault.optimizer is not None:
        optimizer = replace(settings.optimizer, target=fault.optimizer)
        settings = replace(settings, optimizer=optimizer)
    alarms, shares = tried(settings)
    heard = len(alarms) == 2 and all(_names(fault.inert, alarm) for alarm in alarms)
    share = shares.get(fault.inert)
    print(
        f"{fault.name:60} {'' if share is None else f'{share:.1e}':8} "
        f"{'alarm' if heard else f'NOT AS EXPECTED: {alarms}'}"
    )
    return heard


def _names(inert: str, alarm: str) -> bool:
    return "no weight changed" in alarm if inert == "all weights" else f"'{inert}'" in alarm


def tried(settings: Settings) -> tuple[list[str], Shares]:
    """The alarms of a run, and the smallest share of each term in any task."""
    Thorough.ended.clear()
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(io.StringIO()):
        names = dict.fromkeys(PARTS, "campaign")
        results = run(settings, Path(folder) / "run", config={}, names=names)
    shares: Shares = defaultdict(lambda: math.inf)
    for watch in Thorough.ended:
        for term in watch.largest:
            shares[term] = min(shares[term], watch.share(term))
    return results.alarms, dict(shares)


def settings_of(*overrides: str) -> Settings:
    return composed("threads=1", *overrides)[0]


def made_up(source: Source, root: str) -> tuple[Split, Split]:
    """Pictures with the shape and classes of a data set: one pattern per class, with noise."""
    draw = torch.Generator().manual_seed(sum(map(ord, source.name)))
    patterns = torch.randint(0, 200, (source.classes, *source.shape), generator=draw)
    labels = torch.arange(source.classes).repeat_interleave(SAMPLES)
    noise = torch.randint(0, 56, (2, len(labels), *source.shape), generator=draw)
    images = (patterns[labels] + noise).to(torch.uint8)
    return Split(images[0], labels), Split(images[1], labels)


def read_or_made_up(source: Source, root: str) -> tuple[Split, Split]:
    """The digits ship with scikit-learn; all else is made up."""
    return source.load(root) if source.name == "digits" else made_up(source, root)


if __name__ == "__main__":
    setattr(cuts, "read", read_or_made_up)  # noqa: B010
    sys.exit(main())
