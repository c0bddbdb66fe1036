"""Another rate for the head, against a loop that is written out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from optimizer_steps import optimizer_steps
from running import run_here

TINY = ("dataset.tasks=2", "epochs=1", "batch_size=100", "model.widths=[8]", "optimizer=sgd",
        "optimizer.momentum=0", "strategy=lwf", "model.inserted_layer=random")  # fmt: skip


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_head_and_body_each_move_at_their_own_rate(schedule: str, tmp_path: Path) -> None:
    """Without momentum a step is the rate times the gradient. The scheduler acts on both rates."""
    with optimizer_steps() as steps:
        run_here(tmp_path / "run", *TINY, "optimizer.lr=0.01", "optimizer.head_lr=[0.1,0.2]",
                 f"scheduler={schedule}")  # fmt: skip
    assert len(steps) == 6  # three in each task
    for number, step in enumerate(steps):
        share = 1.0 if schedule == "constant" else (1.0, 0.75, 0.25)[number % 3]
        head = 0.1 if number < 3 else 0.2
        moved = 0
        for place, (p, g, after) in enumerate(
            zip(step.before, step.gradients, step.after, strict=True)
        ):
            if g is not None:
                rate = 0.01 if place < 2 else head  # the body's weight and bias come first
                torch.testing.assert_close(after, p - share * rate * g)
                moved += 1
        assert moved == (4 if number < 3 else 8)


def test_the_scale_of_a_cosine_classifier_moves_with_the_head(tmp_path: Path) -> None:
    with optimizer_steps() as steps:
        run_here(tmp_path / "run", *TINY[:-1], "optimizer.lr=0.01", "optimizer.head_lr=0.1",
                 "model.classifier=cosine")  # fmt: skip
    for step in steps:
        (place,) = (n for n, before in enumerate(step.before) if before.dim() == 0)
        expected = step.before[place] - 0.1 * step.gradients[place]
        torch.testing.assert_close(step.after[place], expected)


def test_without_it_the_head_has_the_rate_of_all(tmp_path: Path) -> None:
    written = []
    for name, rate in (("null", "null"), ("same", "0.01")):
        run_here(tmp_path / name, *TINY, "optimizer.lr=0.01", f"optimizer.head_lr={rate}")
        written.append((tmp_path / name / "metrics.jsonl").read_bytes())
    assert written[0] == written[1]
