"""The alarm's campaign: silent for all that is shipped, heard for every planted fault.

    python scripts/alarm_campaign.py

Every strategy in every scenario and scope with every optimizer, at usual and at small learning
rates, and every preset, with few samples, one network and one or two epochs: no alarm may be
raised. It prints how small the gradient of a term was, at its largest in a task, beside the largest
gradient of any term, and exits 1 if an alarm was wrong or missing. Presets are given pictures made
up for them, so no data set is needed.
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
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import Tensor

from cl_runner.config.paths import CONF
from cl_runner.data import cuts
from cl_runner.data.source import Source, Split
from cl_runner.training import run as run_module
from cl_runner.training.alarm import Watch
from cl_runner.training.run import run
from cl_runner.training.settings import Settings, read

PARTS = ("experiment", "dataset", "model", "strategy", "optimizer", "tracker", "group")
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
    "sgd": ("optimizer=sgd", "optimizer.lr=0.002"),  # the default is past EWC's stability limit
    "adam": ("optimizer=adam",),
    "adamw": ("optimizer=adamw",),
    "sgd, lr 1e-4": ("optimizer=sgd", "optimizer.lr=1e-4"),
    "adam, lr 1e-4": ("optimizer=adam", "optimizer.lr=1e-4"),
}
TINY = ("epochs=2", "batch_size=64", "model.widths=[32]")
SAMPLES = 20  # of a class, where they are made up
Shares = dict[str, float]


class Thorough(Watch):
    """Looks on when all terms are known to be alive, to the end of the task."""

    ended: ClassVar[list[Thorough]] = []

    def look(self, terms: dict[str, Tensor]) -> None:
        limit, self.least = self.least, math.inf
        super().look(terms)
        self.least = limit

    def alarms(self, strategy: str) -> list[tuple[str, str]]:
        self.ended.append(self)
        return super().alarms(strategy)


def main() -> int:
    """Print a line a combination, then the tables; the exit code."""
    setattr(run_module, "Watch", Thorough)  # noqa: B010
    runs = list(shipped())
    wrong = 0
    weakest: dict[tuple[str, str], tuple[float, str]] = {}
    for name, overrides in runs:
        alarms, shares = tried(settings_of(*overrides))
        wrong += bool(alarms)
        print(f"{name:60} {told(shares)}", *alarms, sep="\n    ALARM: " if alarms else "")
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
    """Every combination, with its name, and every preset."""
    for strategy in STRATEGIES:
        for stream, of_stream in STREAMS.items():
            for optimizer, of_optimizer in OPTIMIZERS.items():
                name = f"{strategy}, {stream}, {optimizer}"
                yield name, [*TINY, f"strategy={strategy}", *of_stream, *of_optimizer]
    for file in sorted((CONF / "experiment").glob("*.yaml")):
        yield f"{file.stem}, preset", [f"experiment={file.stem}", "batch_size=32", *fewer(file)]


def fewer(file: Path) -> list[str]:
    """Epochs of a preset in its tiny form."""
    return [] if "later_phases" in file.read_text() else ["epochs=2"]


def seen(fault: Fault) -> bool:
    """Whether the alarm is raised for it at each task after the first; prints a line."""
    settings = settings_of(*TINY, "dataset.tasks=3", *fault.overrides)
    target = fault.plant(settings.strategy.target)
    settings = replace(settings, strategy=replace(settings.strategy, target=target))
    if fault.optimizer is not None:
        optimizer = replace(settings.optimizer, target=fault.optimizer)
        settings = replace(settings, optimizer=optimizer)
    alarms, shares = tried(settings)
    heard = len(alarms) == 2 and all(_names(fault.inert, alarm) for alarm in alarms)
    share = shares.get(fault.inert)
    print(f"{fault.name:60} {'' if share is None else f'{share:.1e}':8} "
          f"{'alarm' if heard else f'NOT AS EXPECTED: {alarms}'}")  # fmt: skip
    return heard


def _names(inert: str, alarm: str) -> bool:
    return "no weight changed" in alarm if inert == "all weights" else f"'{inert}'" in alarm


def tried(settings: Settings) -> tuple[list[str], Shares]:
    """The alarms of a run, and the smallest share of each term in a task."""
    Thorough.ended.clear()
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(io.StringIO()):
        names = dict.fromkeys(PARTS, "campaign")
        results = run(settings, Path(folder) / "run", config={}, names=names)
    shares: Shares = defaultdict(lambda: math.inf)
    for watch in Thorough.ended:
        for term in watch.largest:
            shares[term] = min(shares[term], watch.share(term))
    return results.alarms, dict(shares)


def told(shares: Shares) -> str:
    return "  ".join(f"{term} {share:.1e}" for term, share in shares.items())


def settings_of(*overrides: str) -> Settings:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", ["name=unused", "threads=1", *overrides])
    return read(OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]


def made_up(source: Source, root: str) -> tuple[Split, Split]:
    """Pictures of the shape and classes of a data set: of each class a pattern, and noise."""
    draw = torch.Generator().manual_seed(sum(map(ord, source.name)))
    patterns = torch.randint(0, 200, (source.classes, *source.shape), generator=draw)
    labels = torch.arange(source.classes).repeat_interleave(SAMPLES)
    noise = torch.randint(0, 56, (2, len(labels), *source.shape), generator=draw)
    images = (patterns[labels] + noise).to(torch.uint8)
    return Split(images[0], labels), Split(images[1], labels)


def read_or_made_up(source: Source, root: str) -> tuple[Split, Split]:
    """Digits are shipped with scikit-learn."""
    return source.load(root) if source.name == "digits" else made_up(source, root)


if __name__ == "__main__":
    setattr(cuts, "read", read_or_made_up)  # noqa: B010
    sys.exit(main())
