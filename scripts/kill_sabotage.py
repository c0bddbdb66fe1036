"""The test of the campaign: if any item of the state is left out, the comparison must fail."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from kill_points import Case, Killer, Patch, attempt, differences, fingerprint, prepared
from torch import Tensor

from cl_runner.data.batches import Batch
from cl_runner.run_folder.checkpoint import Checkpoints, State
from cl_runner.strategies.rehearsal_kd import RehearsalKD
from cl_runner.training.loop import Training

KILL_AT_STEP = 11  # in the third task, one step after a checkpoint, between two logged lines
KILL_AFTER_A_LINE = 9  # in the third task, one step after a checkpoint, just after a logged line


class Planted(RehearsalKD):
    """Uses every kind of state: torch's own generator, a term that has a gradient only at the
    beginning of a task (which only the alarm's watch remembers), and one that never has (one alarm
    per task)."""

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        terms = super().objective(batch)
        square = torch.cat([p.flatten() for p in self.network.parameters()]).square().sum()
        early = batch.position[2:] == (0, 0)
        noise = torch.rand(()) * 1e-2 * square
        return terms | {"noise": noise, "early": 1e-3 * square * early, "inert": 0 * square}


STRATEGY_ITEMS: dict[str, Callable[[str], bool]] = {
    "weights": lambda k: k.startswith("network.body.") and k.endswith(("weight", "bias")),
    "rows of the classifier": lambda k: "network.classifier.weights" in k,
    "rows that exist": lambda k: k == "network.classifier._extra_state",
    "BatchNorm's statistics": lambda k: k.startswith("network.") and "running" in k,
    "teacher": lambda k: k.startswith("teacher."),
    "memory: pictures": lambda k: k == "memory.images",
    "memory: labels": lambda k: k == "memory.labels",
    "memory: groups": lambda k: k == "memory.groups",
    "memory: counts": lambda k: k == "memory._extra_state",
    "Fisher information": lambda k: k == "fisher.weight",
    "anchor": lambda k: k == "fisher.anchor",
    "offset of the penalty": lambda k: k == "fisher.offset",
}
ITEMS = ["position", "optimizer", "generators", "watch", "means", "evaluator", "probe", "cost",
         "alarms"]  # fmt: skip


def sabotage(folder: Path, common: list[str]) -> bool:
    """Print one line per item left out; whether the comparison noticed every one."""
    memory = ["strategy=rehearsal_kd", "strategy.buffer_size=30", "strategy.replay_batch_size=10",
              "diagnose=probe", "dataset.validation_fraction=0.1"]  # fmt: skip
    kd = prepared("planted", [*common, *memory])
    planted = replace(kd.settings.strategy, target=Planted)
    kd = replace(kd, settings=replace(kd.settings, strategy=planted))
    ewc = prepared("ewc", [*common, "strategy=ewc", "strategy.fisher_samples=50"])
    of_ewc = ("Fisher information", "anchor", "offset of the penalty")
    patches: dict[str, tuple[Case, Patch | None]] = {"nothing": (kd, None)}
    patches |= {item: (kd, leaving_out(item)) for item in ITEMS}
    patches |= {
        item: (ewc if item in of_ewc else kd, leaving_out_of_strategy(chosen))
        for item, chosen in STRATEGY_ITEMS.items()
    }
    patches["offset in metrics.jsonl"] = (kd, leaving_out_the_offset)
    good = True
    whole, steps = {}, {}
    for case in (kd, ewc):
        whole[case.name], steps[case.name] = _whole(case, folder)
    for item, (case, patch) in patches.items():
        step = KILL_AFTER_A_LINE if patch is leaving_out_the_offset else KILL_AT_STEP
        killed = folder / f"{case.name} killed at step {step}"
        if not killed.exists():
            attempt(case, killed, Killer(steps[case.name][step]))  # where the next step begins
        shutil.copytree(killed, folder / item)
        different = attempt(case, folder / item, Killer(), patch=patch).error
        different = different or differences(whole[case.name], folder / item)
        expected = bool(different) == (patch is not None)
        good &= expected
        verdict = different[:70] or "the same"
        print(f"left out: {item:26} {verdict}{'' if expected else '   NOT AS EXPECTED'}")
    return good


def _whole(case: Case, folder: Path) -> tuple[dict[str, str], list[int]]:
    """The fingerprint of a run that is never killed, and the crash points where its steps begin."""
    ended = attempt(case, folder / case.name, Killer())
    assert ended.code == 0
    steps = [number for number, name in enumerate(ended.points, 1) if name == "before objective"]
    return fingerprint(folder / case.name), steps


def leaving_out(item: str) -> Patch:
    """Continue with this part of the state as in a fresh run."""

    def change(saved: State, fresh: State) -> None:
        saved[item] = fresh[item]

    return lambda: _before_putting_back(change)


def leaving_out_of_strategy(chosen: Callable[[str], bool]) -> Patch:
    """Continue with some entries of the strategy's state as in a fresh run."""

    def change(saved: State, fresh: State) -> None:
        keys = [key for key in saved["strategy"] if chosen(key)]
        assert keys
        saved["strategy"] |= {key: fresh["strategy"][key] for key in keys}

    return lambda: _before_putting_back(change)


def _before_putting_back(change: Callable[[State, State], None]) -> None:
    put_back = Training.put_back

    def sabotaged(self: Training, state: State) -> None:
        change(state, self.state())
        put_back(self, state)

    Training.put_back = sabotaged  # type: ignore[method-assign]


def leaving_out_the_offset() -> None:
    """Continue after all lines of metrics.jsonl, even those that will be logged again."""
    load = Checkpoints.load

    def sabotaged(self: Checkpoints) -> tuple[State | None, list[str]]:
        saved, warnings = load(self)
        lines = (self.folder.parent / "metrics.jsonl").read_bytes()
        offset = {"metrics_size": len(lines), "metrics_sha256": hashlib.sha256(lines).hexdigest()}
        return None if saved is None else {**saved, **offset}, warnings

    Checkpoints.load = sabotaged  # type: ignore[method-assign]
