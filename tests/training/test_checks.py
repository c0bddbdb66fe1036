"""The checks of a run: stability against the recursion of gradient descent; other machines."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from messages import problem_of
from running import NAMES, TINY, composed
from tiny import tiny_stream
from torch import Tensor

from cl_runner.data.batches import Batch
from cl_runner.errors import ConfigError, Diverged
from cl_runner.strategies.finetune import Finetune
from cl_runner.training.checks import check_stability
from cl_runner.training.environment import describe, warn_if_other
from cl_runner.training.run import run


def grows(curvature: float, lr: float, momentum: float, nesterov: bool) -> bool:
    """Whether SGD on ½ c x² ends further from 0 than it began, computed step by step."""
    x, velocity = 1.0, 0.0
    for _ in range(3000):
        gradient = curvature * x
        velocity = momentum * velocity + gradient
        x -= lr * (gradient + momentum * velocity if nesterov else velocity)
        if abs(x) > 1e6:
            return True
    return abs(x) > 1


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_is_stopped_exactly_where_it_would_grow(momentum: float, nesterov: bool) -> None:
    nesterov = nesterov and momentum > 0
    parameter = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([parameter], lr=0.1, momentum=momentum, nesterov=nesterov)
    limit = 2 * (1 + momentum) / (1 + 2 * momentum if nesterov else 1) / 0.1
    for curvature in (0.5 * limit, 0.98 * limit, 1.02 * limit, 2 * limit):
        strategy = SimpleNamespace(curvature=lambda c=curvature: c)
        try:
            check_stability(strategy, optimizer, tiny_stream().tasks[1], 1.0)
            stopped = False
        except Diverged:
            stopped = True
        assert stopped == grows(curvature, 0.1, momentum, nesterov), curvature


def test_a_run_that_goes_on_on_another_machine_is_warned(caplog: pytest.LogCaptureFixture) -> None:
    now = describe("cpu")
    warn_if_other(now, now)
    assert not caplog.messages
    before = copy.deepcopy(now)
    before["versions"]["torch"], before["threads"] = "0.1", 99
    warn_if_other(before, now)
    versions, threads = caplog.messages
    assert f"torch {now['versions']['torch']} instead of 0.1" in versions
    assert f"threads {now['threads']} instead of 99" in threads


@pytest.mark.parametrize(("returned", "words"), [
    (lambda loss: loss.mean(), "the result is a tensor of shape []"),
    (lambda loss: {"task": loss.mean(), "mine": loss}, "the term mine is a tensor of shape [64]"),
    (lambda loss: {"task": 0.5}, "the term task is of type float"),
    (lambda loss: {}, "the result is an empty dict"),
    (lambda loss: None, "the result is of type NoneType"),
    (lambda loss: {"task": loss.mean().detach()}, "no term has a gradient"),
])  # fmt: skip
def test_an_objective_that_is_no_dict_of_scalars_is_one_line(
    returned: Callable[[Tensor], object], words: str, tmp_path: Path
) -> None:
    class Mine(Finetune):
        def objective(self, batch: Batch) -> Any:
            return returned(self.network(batch.x).logsumexp(1))

    settings = composed(*TINY, "threads=1", "dataset.tasks=2")
    settings = replace(settings, strategy=replace(settings.strategy, target=Mine))
    with pytest.raises(ConfigError) as caught:
        run(settings, tmp_path / "run", config={}, names=NAMES)
    found = problem_of(str(caught.value))
    assert (found.key, found.value) == ("strategy", "Mine")
    assert words in found.allowed and "dict of named scalar tensors" in found.allowed
