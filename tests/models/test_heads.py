"""The growing classifier compared with separate heads: a linear layer per task, in plain torch."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import pytest
import torch
from running import composed
from tiny import SHAPE, tiny_stream
from torch import Tensor, nn
from torch.nn import functional as F

from cl_runner.data.stream import Stream, Task
from cl_runner.models.network import Network
from cl_runner.strategies.rehearsal import Rehearsal
from cl_runner.tracking.tracker import Trackers
from cl_runner.training.loop import Training

SCENARIOS = [
    ("class_incremental", "all"),
    ("class_incremental", "seen"),
    ("class_incremental", "new"),
    ("task_incremental", "seen"),
    ("domain_incremental", "seen"),
]
OPTIMIZERS = {
    "sgd": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-2}),
    "adam": (torch.optim.Adam, {"lr": 0.01, "weight_decay": 1e-6}),
    "adamw": (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}),
}
MEMORY = {
    "buffer_size": 12,
    "policy": "class_balanced",
    "replay_batch_size": 2,
    "loss": "concat",
    "fill": "task",
    "samples_per_task": None,
    "replacement": True,
    "iterations": 1,
}


class Double(nn.Module):
    """Double precision from here on, so that no difference is rounding."""

    def forward(self, x: Tensor) -> Tensor:
        return x.double()


class Cosine(nn.Module):
    """A head of its own that measures angles; all such heads share their scale."""

    def __init__(self, weight: Tensor, scale: nn.Parameter) -> None:
        super().__init__()
        self.weight, self.scale = nn.Parameter(weight.clone()), scale
        self.out_features = len(weight)

    def forward(self, features: Tensor) -> Tensor:
        lengths = features.norm(dim=1)[:, None] * self.weight.norm(dim=1)
        return self.scale * (features @ self.weight.T) / lengths


@dataclass
class Recorded:
    """What one of our runs began with, saw, and ended with."""

    network: Network
    body: nn.Module  # as it began
    heads: list[list[Tensor]] = field(default_factory=list)  # as they were drawn
    steps: list[tuple[int, Tensor, Tensor]] = field(default_factory=list)  # task, x, y


def ours(
    stream: Stream,
    scope: str,
    optimizer: str,
    reset: bool,
    replay: bool,
    *others: str,
    one_layer: bool = False,
) -> Recorded:
    """Three tasks learned by the runner's own loop."""
    given = [f"optimizer.{key}={value}" for key, value in OPTIMIZERS[optimizer][1].items()]
    settings = composed(
        f"ce_scope={scope}", f"optimizer={optimizer}", *given, f"reset_optimizer={reset}",
        "model.widths=[8]", "model.new_rows=default", "batch_size=16", "epochs=2", *others,
    )  # fmt: skip
    torch.manual_seed(3)
    network = settings.model(SHAPE, 2 if stream.outline.scenario == "domain_incremental" else 6)
    born = [len(task.born) for task in stream.tasks if len(task.born) > 0]
    network.classifier.split(born, one_layer)
    network.body.insert(0, Double())
    strategy = Rehearsal(network, **MEMORY) if replay else settings.strategy(network)
    training = Training(settings, stream, strategy.double(), Trackers([]), "test")
    seen = Recorded(network, copy.deepcopy(network.body))
    record(strategy, seen)
    for task in stream.tasks:
        training.learn(task)
    return seen


def record(strategy: nn.Module, seen: Recorded) -> None:
    """Make it record each head when it is born, and the samples of each step."""
    network, drawn = strategy.network, []
    grow, objective = network.grow, strategy.objective

    def grow_and_note(task: Task) -> None:
        grow(task)
        rows = network.classifier
        for group in rows.groups[len(seen.heads) : rows.born]:
            seen.heads.append([p.detach().clone() for p in group])

    def objective_and_note(batch):
        drawn.clear()
        terms = objective(batch)
        both = [batch, *drawn]
        x, y = torch.cat([b.x for b in both]), torch.cat([b.y for b in both])
        seen.steps.append((batch.task.index, x, y))
        return terms

    network.grow, strategy.objective = grow_and_note, objective_and_note
    if isinstance(strategy, Rehearsal):
        draw = strategy.memory.draw
        strategy.memory.draw = lambda *a: drawn.append(draw(*a)) or drawn[-1]


def competing(scenario: str, scope: str, task: int, label: int) -> range:
    """The heads that compete for a sample."""
    if scenario == "domain_incremental" or scope == "all":
        return range(1)
    if scenario == "class_incremental" and scope == "seen":
        return range(task + 1)
    return range(label // 2, label // 2 + 1)


def cross_entropy(body: nn.Module, heads: list[nn.Linear], x: Tensor, y: Tensor, of) -> Tensor:
    """Mean over samples; a head that competes for none of them is not used."""
    total = torch.zeros((), dtype=torch.float64)
    starts = [sum(head.out_features for head in heads[:h]) for h in range(len(heads))]
    for wanted in {of(int(label)) for label in y}:
        mine = torch.tensor([of(int(label)) == wanted for label in y])
        logits = torch.cat([heads[h](body(x[mine])) for h in wanted], 1)
        total = total + F.cross_entropy(logits, y[mine] - starts[wanted[0]], reduction="sum")
    return total / len(y)


def theirs(seen: Recorded, scenario: str, scope: str, optimizer: str, reset: bool) -> nn.Module:
    """The same steps with separate heads and torch's own optimizer."""
    body, heads = copy.deepcopy(seen.body), nn.ModuleList()
    scale = nn.Parameter(torch.ones((), dtype=torch.float64))
    for weight, *bias in seen.heads:
        if not bias:
            heads.append(Cosine(weight, scale))
            continue
        head = nn.Linear(*reversed(weight.shape), dtype=torch.float64)
        head.load_state_dict({"weight": weight, "bias": bias[0]})
        heads.append(head)
    model = nn.ModuleList([body, heads])
    build, settings = OPTIMIZERS[optimizer]
    current, before = build(model.parameters(), **settings), 0
    for task, x, y in seen.steps:
        if reset and task != before:
            current, before = build(model.parameters(), **settings), task
        current.zero_grad()
        loss = cross_entropy(
            body, list(heads), x, y, lambda label, t=task: competing(scenario, scope, t, label)
        )
        loss.backward()
        current.step()
    return model


@pytest.mark.parametrize("replay", [False, True])
@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("scenario", "scope"), SCENARIOS)
def test_the_classifier_behaves_as_separate_heads(
    scenario: str, scope: str, optimizer: str, reset: bool, replay: bool
) -> None:
    stream = tiny_stream(scenario, scope, samples=20)
    seen = ours(stream, scope, optimizer, reset, replay)
    compare(seen, *theirs(seen, scenario, scope, optimizer, reset))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(("scenario", "scope"), SCENARIOS)
def test_so_does_one_that_measures_angles(scenario: str, scope: str, optimizer: str) -> None:
    """Its scale is the only weight that the heads share; the optimizer is kept."""
    stream = tiny_stream(scenario, scope, samples=20)
    seen = ours(stream, scope, optimizer, False, False, "model.classifier=cosine")
    body, heads = theirs(seen, scenario, scope, optimizer, False)
    compare(seen, body, heads)
    torch.testing.assert_close(seen.network.classifier.scale, heads[0].scale, rtol=1e-9, atol=1e-9)
    assert abs(heads[0].scale - 1) > 0.001


def compare(seen: Recorded, body: nn.Module, heads: nn.Module) -> None:
    """Equal weights, but for rounding."""
    for mine, expected in zip(seen.network.body.parameters(), body.parameters(), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-9)
    rows = seen.network.classifier
    for group, head in zip(rows.groups, heads, strict=True):
        for mine, expected in zip(group, (head.weight, getattr(head, "bias", None)), strict=False):
            torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-9)


def test_nothing_acts_on_rows_that_are_not_born_yet() -> None:
    """Neither weight decay nor a penalty on all parameters."""
    settings = composed("strategy=ewc", "optimizer.weight_decay=0.5", "reset_optimizer=false",
                        "model.widths=[8]", "epochs=1", "batch_size=16")  # fmt: skip
    stream = tiny_stream()
    torch.manual_seed(3)
    network = settings.model(SHAPE, 6)
    network.classifier.split([2, 2, 2])
    training = Training(settings, stream, settings.strategy(network), Trackers([]), "test")
    for task in stream.tasks[:2]:
        training.learn(task)
    unborn = network.classifier.weights[2], network.classifier.biases[2]
    assert not any(p.any() for p in unborn)
    assert not any(p in training.optimizer.state for p in unborn)
