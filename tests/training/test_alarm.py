"""The alarm notices what turns a strategy into fine-tuning, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from alarm_faults import FAULTS, Fault
from running import NAMES, composed
from tiny import tiny_network, tiny_stream
from torch import nn

from cl_runner.training.alarm import Watch
from cl_runner.training.run import run

TINY = ("threads=1", "epochs=1", "batch_size=64", "model.widths=[16]", "dataset.tasks=3")
WEAKEST = ("optimizer.lr=1e-4", "epochs=2")  # where a living term gives the least


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_heard(fault: Fault, tmp_path: Path) -> None:
    """In each task after the first, and by name."""
    settings = composed(*TINY, *fault.overrides)
    target = fault.plant(settings.strategy.target)
    settings = replace(settings, strategy=replace(settings.strategy, target=target))
    if fault.optimizer is not None:
        optimizer = replace(settings.optimizer, target=fault.optimizer)
        settings = replace(settings, optimizer=optimizer)
    alarms = run(settings, tmp_path / "run", config={}, names=NAMES).alarms
    words = "no weight changed" if fault.inert == "all weights" else f"'{fault.inert}'"
    assert len(alarms) == 2, alarms
    for task, alarm in enumerate(alarms, start=2):
        assert words in alarm and f"during the whole of task {task}, " in alarm
        assert ". Hint: " in alarm


@pytest.mark.parametrize("strategy", ["si", "ewc", "lwf", "rehearsal_kd"])
@pytest.mark.parametrize("scenario", ["class_incremental", "task_incremental"])
def test_a_term_that_lives_is_left_alone(strategy: str, scenario: str, tmp_path: Path) -> None:
    settings = composed(*TINY, *WEAKEST, f"strategy={strategy}", f"dataset.scenario={scenario}")
    assert run(settings, tmp_path / "run", config={}, names=NAMES).alarms == []


@pytest.mark.parametrize(("strategy", "scenario"), [
    ("finetune", "class_incremental"), ("lwf", "task_incremental"), ("ewc", "task_incremental"),
    ("lwf", "class_incremental"), ("ewc", "class_incremental"), ("wa", "class_incremental"),
])  # fmt: skip
def test_a_task_of_one_class_alone_asks_for_nothing(
    strategy: str, scenario: str, tmp_path: Path
) -> None:
    """Cross-entropy over a single class is zero, and so is its gradient."""
    one_by_one = (
        "dataset.classes_per_task=1",
        f"dataset.scenario={scenario}",
        f"strategy={strategy}",
    )
    settings = composed(*TINY, *one_by_one)
    results = run(settings, tmp_path / "run", config={}, names=NAMES)
    assert results.alarms == [] and results.matrix[0][0] == 1.0


def watched(*scales: float) -> Watch:
    """Three steps of two terms; the second is the first times a factor."""
    network, task = tiny_network(), tiny_stream().tasks[1]
    watch = Watch(task, list(network.parameters()))
    for scale in scales:
        total = sum(p.sum() for p in network.parameters())
        watch.look({"task": total, "other": scale * total})
        with torch.no_grad():
            next(network.parameters()).add_(1)
        watch.after_step()
    return watch


def test_a_term_counts_from_64_units_of_the_precision_on() -> None:
    least = 64 * torch.finfo(torch.float32).eps
    assert [name for name, _ in watched(*[0.9 * least] * 3).alarms("x")] == ["other"]
    assert watched(*[1.1 * least] * 3).alarms("x") == []
    assert watched(0.0, 0.0, 1.0).alarms("x") == []  # at rest at first
    ((_, warning),) = watched(*[0.5 * least] * 3).alarms("x")
    assert f"at most {0.5 * least:.1e} of the largest" in warning
    assert "too little to do anything there. Hint: give the term more weight" in warning


def test_a_task_that_is_learned_perfectly_makes_no_other_term_alive() -> None:
    """Next to a loss near rounding, rounding is large: the largest of the task counts."""
    network, task = nn.Linear(2, 1), tiny_stream().tasks[1]
    watch = Watch(task, list(network.parameters()))
    for size in (1.0, 1e-8, 1e-8):
        total = sum(p.sum() for p in network.parameters())
        watch.look({"task": size * total, "noise": 1e-7 * total})
    assert watch.share("noise") == pytest.approx(1e-7, rel=1e-3)


def test_a_term_whose_gradient_reaches_no_weight_that_learns_does_nothing() -> None:
    network, task = nn.Linear(2, 1), tiny_stream().tasks[1]
    watch, elsewhere = Watch(task, list(network.parameters())), nn.Parameter(torch.ones(()))
    for _ in range(3):
        watch.look({"task": network.weight.sum(), "lost": 2 * elsewhere})
        with torch.no_grad():
            network.weight.add_(1)
        watch.after_step()
    assert [name for name, _ in watch.alarms("x")] == ["lost"]
