"""The budget of a task and the size of its steps: steps, drop_last, accumulate."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from optimizer_steps import optimizer_steps
from running import NAMES, composed, final_state, run_here
from torch import Tensor

from cl_runner.data.batches import Batch
from cl_runner.errors import ConfigError
from cl_runner.strategies.finetune import Finetune
from cl_runner.training.run import run

SMALL = ("model.widths=[8]", "dataset.tasks=2", "batch_size=75")  # four steps an epoch
AUGMENTED = ("dataset.pixels.crop_padding=1", "dataset.pixels.flip=true")


class Seeing(Finetune):
    """Fine-tuning that notes what each of its methods is given."""

    calls: ClassVar[list[tuple[str, Any]]] = []

    def objective(self, batch: Batch) -> dict[str, Tensor]:
        self.calls.append(("objective", batch))
        return super().objective(batch)

    def after_backward(self, batch: Batch) -> None:
        self.calls.append(("after_backward", batch))

    def after_step(self, batch: Batch) -> None:
        self.calls.append(("after_step", batch))


def seen(folder: Path, *overrides: str) -> list[tuple[str, Any]]:
    settings = composed("threads=1", *SMALL, *overrides)
    settings.strategy.__dict__["target"] = Seeing
    Seeing.calls.clear()
    run(settings, folder, config={}, names=NAMES)
    return list(Seeing.calls)


def weights(folder: Path) -> dict[str, Tensor]:
    state = final_state(folder)["strategy"]
    return {key: value for key, value in state.items() if key.startswith("network.")}


def test_a_budget_in_steps_is_that_of_the_epochs_it_makes_up(tmp_path: Path) -> None:
    """Reshuffled when the data is exhausted, as in the next epoch; a part of one is its start."""
    whole = seen(tmp_path / "epochs", "epochs=2")
    ended = seen(tmp_path / "steps", "epochs=null", "steps=[8,6]")
    used, given = ([b.index.tolist() for name, b in calls if name == "objective"]
                   for calls in (ended, whole))  # fmt: skip
    assert len(given) == 16 and used == given[:14]
    first, second = ({n for batch in given[e : e + 4] for n in batch} for e in (0, 4))
    assert first == second and given[0] != given[4]


def test_a_last_step_that_would_be_smaller_is_left_out(tmp_path: Path) -> None:
    sizes = {}
    for drop in (False, True):
        calls = seen(tmp_path / str(drop), "epochs=2", f"drop_last={drop}", "accumulate=2")
        sizes[drop] = [len(batch.y) for name, batch in calls if name == "after_step"]
    assert len(sizes[False]) == 8 and set(sizes[True]) == {150}
    assert [size for size in sizes[False] if size == 150] == sizes[True]


def test_what_has_no_whole_step_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^config error: drop_last=True: leaves an epoch of 2"):
        run_here(tmp_path / "run", *SMALL, "drop_last=true", "accumulate=10")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [
    ("strategy=finetune",), ("strategy=ewc", "strategy.weight=10", *AUGMENTED), ("strategy=si",),
    ("strategy=lwf", "clip_gradient=0.1", "dataset.scenario=task_incremental"),
    ("strategy=finetune", "optimizer=sgd", "drop_last=true"),
], ids=" ".join)  # fmt: skip
def test_batches_accumulated_are_one_batch_of_their_size(options, tmp_path: Path) -> None:
    """Also where the last step of an epoch is made of fewer and smaller ones."""
    counts = []
    for name, size in (
        ("whole", ("batch_size=105",)),
        ("parts", ("batch_size=35", "accumulate=3")),
    ):
        with optimizer_steps() as steps:
            run_here(tmp_path / name, *SMALL[:2], "epochs=2", *size, *options)
        counts.append(len(steps))
    assert counts[0] == counts[1]
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    for key, value in whole.items():
        torch.testing.assert_close(parts[key], value, rtol=1e-3, atol=1e-4)


def test_hooks_see_each_step_once_with_all_its_samples(tmp_path: Path) -> None:
    calls = seen(tmp_path / "run", "epochs=1", "accumulate=3")
    names = [name for name, _ in calls]
    hooks = ["after_backward", "after_step"]
    assert names == 2 * ([*["objective"] * 3, *hooks, "objective", *hooks])
    parts = [batch for name, batch in calls[:3]]
    for _, step in calls[3:5]:
        for field in ("x", "y", "index", "raw"):
            joined = torch.cat([getattr(part, field) for part in parts])
            assert torch.equal(getattr(step, field), joined)
    positions = [batch.position for name, batch in calls if name == "objective"]
    assert len(set(positions)) == len(positions)  # each batch has draws of its own


def test_der_stores_each_sample_with_its_own_logits(tmp_path: Path) -> None:
    """A memory that holds everything, and no step that changes a weight."""
    memory = ("strategy=derpp", "strategy.buffer_size=2000", "optimizer=sgd", "optimizer.lr=1e-30")
    stored = {}
    for name, size in (("whole", ("batch_size=90",)), ("parts", ("batch_size=30", "accumulate=3"))):
        run_here(tmp_path / name, *SMALL[:2], "epochs=1", *size, *memory)
        state = final_state(tmp_path / name)["strategy"]
        stored[name] = [state[f"memory.{part}"] for part in ("labels", "index", "column_logits")]
    for one, other in zip(*stored.values(), strict=True):
        torch.testing.assert_close(one, other)
