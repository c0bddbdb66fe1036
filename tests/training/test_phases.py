"""Phases that train the head alone: what an optimizer that is kept does in them, and BatchNorm."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import run_here
from torch import Tensor, nn

from cl_runner.training import run as run_module
from cl_runner.training.loop import Training

LR, DECAY = 0.01, 0.1
SMALL = ("batch_size=64", "epochs=1", "dataset.tasks=3", "model.widths=[8]")


def phase(layers: str) -> str:
    one = (
        f"{{_target_:cl_runner.training.settings.Phase,epochs:1,layers:{layers},weight_decay:null}}"
    )
    return f"later_phases=[{one}]"


def sgd(p: Tensor, g: Tensor, state: dict) -> Tensor:
    g = g + DECAY * p
    state["v"] = 0.9 * state["v"] + g if state else g
    return p - LR * state["v"]


def adam(p: Tensor, g: Tensor, state: dict) -> Tensor:
    return _adam(p, g + DECAY * p, state)


def adamw(p: Tensor, g: Tensor, state: dict) -> Tensor:
    return _adam(p - LR * DECAY * p, g, state)


def _adam(p: Tensor, g: Tensor, state: dict) -> Tensor:
    n = state["n"] = state.get("n", 0) + 1
    state["m"] = 0.9 * state.get("m", 0) + 0.1 * g
    state["v"] = 0.999 * state.get("v", 0) + 0.001 * g.square()
    m, v = state["m"] / (1 - 0.9**n), state["v"] / (1 - 0.999**n)
    return p - LR * m / (v.sqrt() + 1e-8)


@pytest.mark.parametrize("layers", ["head", "all"])
@pytest.mark.parametrize("inserted", ["none", "random"])
@pytest.mark.parametrize("rule", [sgd, adam, adamw])
def test_an_optimizer_that_is_kept_goes_on_for_each_parameter_by_itself(
    rule, inserted: str, layers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step is the textbook's, with a state for each parameter that begins with its first
    gradient: parameters with and without one meet when a layer is inserted or the body rests."""
    states: dict[int, dict] = {}
    step, steps, rested = Training._step, [], []

    def checked(self: Training, batch):
        before = {id(p): p.detach().double() for p in self.parameters}
        found = step(self, batch)
        for p in self.parameters:
            expected = before[id(p)]
            if p.grad is not None:
                expected = rule(expected, p.grad.double(), states.setdefault(id(p), {}))
            torch.testing.assert_close(p.detach().double(), expected, rtol=1e-4, atol=1e-6)
        steps.append(batch.task.index)
        rested.append(sum(p.grad is None for p in self.strategy.network.body.parameters()))
        return found

    monkeypatch.setattr(Training, "_step", checked)
    run_here(
        tmp_path / "run", *SMALL, "strategy=lwf", f"optimizer={rule.__name__}",
        f"optimizer.lr={LR}", f"optimizer.weight_decay={DECAY}", "reset_optimizer=false",
        f"model.inserted_layer={inserted}", phase(layers),
    )  # fmt: skip
    assert set(steps) == {0, 1, 2}
    in_later_tasks = {r for r, task in zip(rested, steps, strict=True) if task > 0}
    assert in_later_tasks == ({2} if layers == "head" else {0})


@pytest.mark.parametrize("freeze", [True, False])
def test_the_body_rests_in_a_head_only_phase_and_its_statistics_do_not_unless_frozen(
    freeze: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strategy, after = [], []
    build, learn = run_module.build_strategy, Training.learn

    def built(settings):
        strategy.append(build(settings))
        return strategy[0]

    def learned(self: Training, task) -> None:
        learn(self, task)
        body = strategy[0].network.body
        after.append({name: value.clone() for name, value in body.state_dict().items()})

    monkeypatch.setattr(run_module, "build_strategy", built)
    monkeypatch.setattr(Training, "learn", learned)
    run_here(tmp_path / "run", *SMALL, "model.batch_norm=true",
             f"model.freeze_statistics={freeze}", phase("head"))  # fmt: skip
    first, last = after[0], after[-1]
    assert any(isinstance(module, nn.BatchNorm1d) for module in strategy[0].network.body)
    for name, value in first.items():
        statistics = "running" in name or "num_batches" in name
        assert torch.equal(value, last[name]) == (freeze or not statistics), name
