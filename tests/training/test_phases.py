"""Phases that only train the head: BatchNorm, and an optimizer that is kept."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from optimizer_steps import optimizer_steps
from running import NAMES, composed, final_state, run_here
from torch import Tensor

from cl_runner.config.targets import target
from cl_runner.data.batches import Batch
from cl_runner.data.stream import Task
from cl_runner.models.mlp import mlp
from cl_runner.models.network import Network
from cl_runner.strategies.ewc import EWC
from cl_runner.strategies.finetune import Finetune
from cl_runner.training.run import build_strategy, run

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


def adagrad(p: Tensor, g: Tensor, state: dict) -> Tensor:
    g = g + DECAY * p
    state["v"] = state.get("v", 0) + g.square()
    return p - LR * g / (state["v"].sqrt() + 1e-10)


def _adam(p: Tensor, g: Tensor, state: dict) -> Tensor:
    n = state["n"] = state.get("n", 0) + 1
    state["m"] = 0.9 * state.get("m", 0) + 0.1 * g
    state["v"] = 0.999 * state.get("v", 0) + 0.001 * g.square()
    m, v = state["m"] / (1 - 0.9**n), state["v"] / (1 - 0.999**n)
    return p - LR * m / (v.sqrt() + 1e-8)


@pytest.mark.parametrize("layers", ["head", "all"])
@pytest.mark.parametrize("inserted", ["none", "random"])
@pytest.mark.parametrize("rule", [sgd, adam, adamw, adagrad])
def test_an_optimizer_that_is_kept_goes_on_for_each_parameter_by_itself(
    rule, inserted: str, layers: str, tmp_path: Path
) -> None:
    """Each step is the textbook's, with a state for each parameter that begins with its first
    gradient: parameters with and without one meet when a layer is inserted or the body rests."""
    with optimizer_steps() as steps:
        results = run_here(
            tmp_path / "run", *SMALL, "strategy=lwf", f"optimizer={rule.__name__}",
            f"optimizer.lr={LR}", f"optimizer.weight_decay={DECAY}", "reset_optimizer=false",
            f"model.inserted_layer={inserted}", phase(layers),
        )  # fmt: skip
    states: dict[int, dict] = defaultdict(dict)
    for step in steps:
        for p, before, gradient, after in zip(
            step.parameters, step.before, step.gradients, step.after, strict=True
        ):
            expected = before.double()
            if gradient is not None:
                expected = rule(expected, gradient.double(), states[id(p)])
            torch.testing.assert_close(after.double(), expected, rtol=1e-4, atol=1e-6)
    assert len(steps) == results["cost"]["steps"]
    in_first = math.ceil(results["tasks"][0]["train"] / 64)
    of_body = [step.gradients[:2] for step in steps]  # its weight and bias are the oldest group
    assert not any(g is None for gradients in of_body[:in_first] for g in gradients)
    assert {g is None for gradients in of_body[in_first:] for g in gradients} == {layers == "head"}


def test_the_first_task_may_have_phases_too(tmp_path: Path) -> None:
    """The head learns first, then all; later tasks have the one phase of `epochs`."""
    head, all_layers = (phase(layers)[len("later_phases=[") : -1] for layers in ("head", "all"))
    with optimizer_steps() as steps:
        run_here(tmp_path / "run", "batch_size=2000", "model.widths=[8]", "dataset.tasks=2",
                 f"first_phases=[{head},{all_layers}]", "epochs=2")  # fmt: skip
    rests = []
    for step in steps:
        same = [torch.equal(a, b) for a, b in zip(step.before, step.after, strict=True)]
        rests.append({s for s, p in zip(same, step.after, strict=True) if len(p) == 8})
    assert rests == [{True}, {False}, {False}, {False}]
    assert [step.known == 0 for step in steps] == [True, True, True, False]


class Noting(Finetune):
    """Fine-tuning that keeps the state of its body at the end of each task."""

    bodies: ClassVar[list[dict[str, Tensor]]] = []

    def end_task(self, task: Task) -> None:
        body = self.network.body.state_dict()
        self.bodies.append({name: value.clone() for name, value in body.items()})


@pytest.mark.parametrize("freeze", [True, False])
def test_the_body_rests_in_a_head_only_phase_and_its_statistics_do_not_unless_frozen(
    freeze: bool, tmp_path: Path
) -> None:
    settings = composed(*SMALL, "model.batch_norm=true", f"model.freeze_statistics={freeze}",
                        phase("head"))  # fmt: skip
    settings = replace(settings, strategy=replace(settings.strategy, target=Noting))
    Noting.bodies.clear()
    run(settings, tmp_path / "run", config={}, names=NAMES)
    first, _, last = Noting.bodies
    statistics = {name for name in first if "running" in name or "num_batches" in name}
    assert len(statistics) == 3 and len(first) > 3
    for name, value in first.items():
        assert torch.equal(value, last[name]) == (freeze or name not in statistics), name


@target
def partly_frozen(shape, classes: int, **settings) -> Network:
    """The shipped perceptron, whose first layer learns nothing; its BatchNorm does."""
    network = mlp(shape, classes, **settings)
    network.body[1].requires_grad_(False)
    return network


def test_what_the_model_has_frozen_stays_so_in_every_phase(tmp_path: Path) -> None:
    """A phase of all layers gives it no gradient back, nor does the end of a task."""
    head, all_layers = (phase(layers)[len("later_phases=[") : -1] for layers in ("head", "all"))
    settings = composed(
        *SMALL, "model.batch_norm=true", "strategy=ewc", "strategy.fisher_samples=20",
        f"later_phases=[{head},{all_layers}]",
    )  # fmt: skip
    own = replace(settings.model, target=partly_frozen)
    settings = replace(settings, model=own, strategy=replace(settings.strategy, target=Watching))
    Watching.takes_gradient.clear()
    run(settings, tmp_path / "run", config={}, names=NAMES)
    state = final_state(tmp_path / "run")["strategy"]
    fresh = build_strategy(settings)
    learned = {key: not torch.equal(state[key], value) for key, value in fresh.state_dict().items()
               if key.startswith("network.body.") and key.endswith(("weight", "bias"))}  # fmt: skip
    assert learned == {"network.body.1.weight": False, "network.body.2.weight": True,
                       "network.body.2.bias": True}  # fmt: skip
    everything = sum(p.numel() for p in fresh.network.parameters())
    assert len(state["fisher.weight"]) == everything - fresh.network.body[1].weight.numel()
    assert Watching.takes_gradient == {False}


class Watching(EWC):
    """Notes whether the frozen layer takes a gradient."""

    takes_gradient: ClassVar[set[bool]] = set()

    def after_step(self, batch: Batch) -> None:
        self.takes_gradient.add(self.network.body[1].weight.requires_grad)

    def end_task(self, task: Task) -> None:
        self.takes_gradient.add(self.network.body[1].weight.requires_grad)
        super().end_task(task)
