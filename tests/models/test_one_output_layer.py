"""All rows as one layer from the first task on, compared with a linear layer in plain torch."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from running import TINY, composed, run_here
from test_heads import OPTIMIZERS, Recorded, ours
from tiny import tiny_network, tiny_stream
from torch import nn
from torch.nn import functional as F

from cl_runner.training.run import build_strategy

WEIGHT = 0.1
L2 = ("strategy=l2", f"strategy.weight={WEIGHT}")


def theirs(seen: Recorded, scenario: str, optimizer: str, weight: float) -> list[nn.Parameter]:
    """The same steps: one linear layer, a slice of its outputs in the loss, a penalty on all its
    rows, and an optimizer that is kept."""
    body = copy.deepcopy(seen.body)
    layer = nn.Linear(8, 6, dtype=torch.float64)
    layer.load_state_dict(dict(zip(("weight", "bias"), seen.heads[0], strict=True)))
    parameters = [*body.parameters(), *layer.parameters()]
    build, settings = OPTIMIZERS[optimizer]
    current, before, anchor = build(parameters, **settings), 0, []
    for task, x, y in seen.steps:
        if task != before:
            before, anchor = task, [p.detach().clone() for p in parameters]
        first = 2 * task if scenario == "task_incremental" else 0
        loss = F.cross_entropy(layer(body(x))[:, first : 2 * task + 2], y - first)
        pulls = [((p - a) ** 2).sum() for p, a in zip(parameters, anchor, strict=False)]
        current.zero_grad()
        (loss + weight * sum(pulls)).backward()
        current.step()
    return parameters


@pytest.mark.parametrize("weight", [0.0, WEIGHT])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("scenario", ["class_incremental", "task_incremental"])
def test_it_behaves_as_a_linear_layer(scenario: str, optimizer: str, weight: float) -> None:
    stream = tiny_stream(scenario, samples=20)
    strategy = L2 if weight else ()
    seen = ours(stream, "seen", optimizer, False, False, *strategy, one_layer=True)
    expected = theirs(seen, scenario, optimizer, weight)
    mine = [*seen.network.body.parameters(), *seen.network.classifier.parameters()]
    for ours_, theirs_ in zip(mine, expected, strict=True):
        torch.testing.assert_close(ours_, theirs_, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("classifier", ["linear", "cosine"])
def test_outputs_of_later_classes_stay_hidden(classifier: str) -> None:
    network, stream = tiny_network(classifier=classifier, new_rows="default"), tiny_stream()
    network.classifier.split([2, 2, 2], one_layer=True)
    network.grow(stream.tasks[0])
    drawn = network.classifier.weight.clone()
    assert drawn.abs().amin(dim=1).gt(0).all()  # all rows are drawn with the first task
    x = stream.tasks[0].train.x[:5]
    for task in stream.tasks:
        if not task.first:
            network.grow(task)
        z = network(x)
        assert z[:, : task.seen].isfinite().all()
        assert (z[:, task.seen :] == -torch.inf).all()
    assert network.classifier.weight.equal(drawn)


@pytest.mark.parametrize(
    ("words", "one"),
    [
        (["one_output_layer=true"], True),
        (["one_output_layer=true", "dataset.scenario=task_incremental"], True),
        ([], False),
        (["ce_scope=all"], True),
        (["dataset.scenario=domain_incremental"], True),
    ],
)
def test_the_setting_and_the_record_are_those_of_the_network(
    words: list[str], one: bool, tmp_path: Path
) -> None:
    """Recorded is what the network is, so that runs that are equal have equal conventions."""
    classifier = build_strategy(composed(*TINY, *words)).network.classifier
    assert (len(classifier.weights) == 1) is one
    results = run_here(tmp_path / "run", *TINY, "dataset.tasks=2", *words)
    assert results["conventions"]["one_output_layer"] is one
