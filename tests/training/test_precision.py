"""bf16 and channels_last: what is computed in them, and what stays float32."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from running import composed, final_state, run_here
from torch import nn

from cl_runner.evaluation.predict import outputs
from cl_runner.strategies.parts.fisher import fisher_diagonal
from cl_runner.strategies.parts.teacher import Teacher
from cl_runner.strategies.strategy import Strategy
from cl_runner.training.run import build_strategy

TWO = ("dataset.tasks=2", "batch_size=100", "epochs=1", "threads=1")
CNN = (*TWO, "model=cnn", "model.channels=[4,8]", "model.hidden=16")


def strategy_of(*overrides: str) -> Strategy:
    strategy = build_strategy(composed(*overrides))
    settings = composed(*overrides)
    stream = settings.dataset.load(seed=0, scope="seen", device="cpu")
    strategy.network.grow(stream.tasks[0])
    strategy.stream = stream
    return strategy


@pytest.mark.parametrize("use", ["training", "teacher", "features", "evaluation", "Fisher"])
def test_everything_that_calls_the_network_computes_in_bf16(use: str) -> None:
    """Seen by a hook on its layers; what leaves the network is float32."""
    strategy = strategy_of(*CNN, "precision=bf16")
    network, task = strategy.network, strategy.stream.tasks[0]
    x = task.train[:20].x
    teacher = Teacher(network)
    seen: list[torch.dtype] = []
    for module in (teacher if use == "teacher" else network).modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda *a: seen.append(a[2].dtype))
    made = {
        "training": lambda: network(x),
        "teacher": lambda: teacher(x),
        "features": lambda: network.features(x),
        "evaluation": lambda: outputs(strategy, task.train[:20], task, 2),
        "Fisher": lambda: fisher_diagonal(network, task.train[:20], task, "exact", 10),
    }[use]()
    assert seen and set(seen) == {torch.bfloat16} and made.dtype == torch.float32
    assert {p.dtype for p in network.parameters()} == {torch.float32}


def test_outputs_and_fisher_information_are_near_those_in_float32() -> None:
    of = {}
    for precision in ("float32", "bf16"):
        strategy = strategy_of(*CNN, f"precision={precision}")
        samples, task = strategy.stream.tasks[0].train[:50], strategy.stream.tasks[0]
        fisher = fisher_diagonal(strategy.network, samples, task, "exact", 10)
        of[precision] = outputs(strategy, samples, task, 2), fisher
    for one, other in zip(*of.values(), strict=True):
        assert not torch.equal(one, other)
        assert (one - other).norm() < 0.02 * one.norm()


@pytest.mark.parametrize("dataset", ["digits", "three colours"])
def test_channels_last_is_the_order_in_every_layer_and_the_same_function(dataset: str) -> None:
    strategy = strategy_of(*CNN, "memory_format=channels_last")
    network = strategy.network
    x = strategy.stream.tasks[0].train[:20].x
    if dataset == "three colours":
        x = torch.cat([x] * 3, dim=1)
        network.body[0] = nn.Conv2d(3, 4, 3, padding=1)
    strides: list[bool] = []

    def note(module: nn.Module, _: object, output: torch.Tensor) -> None:
        strides.append(output.stride(1) == 1)

    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(note)
    last = network(x)
    assert strides == [True] * 2
    network.compute_in("float32", "contiguous")
    torch.testing.assert_close(network(x), last)


@pytest.mark.parametrize("strategy", ["ewc", "lwf", "rehearsal_kd", "icarl", "derpp"])
def test_a_run_in_both_ends_near_the_plain_one(strategy: str, tmp_path: Path) -> None:
    small = (*CNN, f"strategy={strategy}", "optimizer=sgd", "optimizer.lr=0.001")
    run_here(tmp_path / "plain", *small)
    run_here(tmp_path / "both", *small, "precision=bf16", "memory_format=channels_last")
    plain, both = (final_state(tmp_path / name)["strategy"] for name in ("plain", "both"))
    for key, value in plain.items():
        if key.startswith("network.body") and value.is_floating_point():
            assert (both[key] - value).norm() <= 0.02 * value.norm()
            assert not torch.equal(both[key], value)
