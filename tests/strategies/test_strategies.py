"""Identities between strategies, bit for bit where they hold exactly."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from inspect import isfunction

import pytest
import torch
from running import composed
from tiny import by_twos, first_batch, tiny_network, tiny_stream

from cl_runner.config.traits import shares_first_task
from cl_runner.data.batches import Batch, batches, in_turns
from cl_runner.data.likelihood import GAUSSIAN
from cl_runner.data.stream import Stream, Task
from cl_runner.errors import ConfigError
from cl_runner.models.network import Network
from cl_runner.strategies import agem
from cl_runner.strategies.agem import AGEM
from cl_runner.strategies.bic import BiC
from cl_runner.strategies.der import DER
from cl_runner.strategies.derpp import DERpp
from cl_runner.strategies.dgr import DGR
from cl_runner.strategies.er_ace import ERACE
from cl_runner.strategies.ewc import EWC
from cl_runner.strategies.fdr import FDR
from cl_runner.strategies.finetune import Finetune
from cl_runner.strategies.gdumb import GDumb
from cl_runner.strategies.gem import GEM
from cl_runner.strategies.generative_classifier import GenerativeClassifier
from cl_runner.strategies.gss import GSS
from cl_runner.strategies.icarl import ICaRL
from cl_runner.strategies.joint import Joint
from cl_runner.strategies.l2 import L2
from cl_runner.strategies.lwf import LwF
from cl_runner.strategies.mas import MAS
from cl_runner.strategies.ncm import NCM
from cl_runner.strategies.parts.losses import task_loss
from cl_runner.strategies.ranpac import RanPAC
from cl_runner.strategies.rehearsal import Rehearsal
from cl_runner.strategies.rehearsal_kd import RehearsalKD
from cl_runner.strategies.rwalk import RWalk
from cl_runner.strategies.separate import SeparateNetworks
from cl_runner.strategies.si import SI
from cl_runner.strategies.slda import SLDA
from cl_runner.strategies.strategy import Strategy
from cl_runner.strategies.wa import WA
from cl_runner.training.optimizers import clip_gradient

FISHER = {"fisher": "exact", "fisher_samples": None, "fisher_batch_size": 10}
SPRINGS = {"weight": 10.0, "mode": "offline", "decay": 1.0, "half": True, **FISHER}
MEMORY = {"buffer_size": 12, "policy": "class_balanced", "replay_batch_size": 5, "loss": "concat"}
KD = {"alpha": 0.5, "T": 2.0, "mixing": "convex", "t_squared": True}
LWF = KD | {"mixing": "additive", "outputs": "old", "class_mean": False}
OMEGA = {"decay": 1.0, "importance_samples": None, "importance_batch_size": 10}
WALK = {"alpha": 0.9, "interval": 3, "eps": 1e-3, "path": True, "form": "paper"}
ONCE = {"fill": "task", "samples_per_task": None, "replacement": True, "iterations": 1}
STEPS = {"buffer_size": 12, "policy": "reservoir", "replay_batch_size": 5}
DRAWN = {"T": 2.0, "class_mean": False, "replay_batch_size": 5, "widths": [8], "latent": 3}
MAKE = {
    "finetune": (Finetune, {}),
    "joint": (Joint, {"start": "current"}),
    "joint from scratch": (Joint, {"start": "scratch"}),
    "lwf": (LwF, LWF),
    "lwf all outputs": (LwF, LWF | {"outputs": "all", "mixing": "by_task"}),
    "kd": (LwF, LWF | {"mixing": "convex"}),
    "ewc": (EWC, SPRINGS),
    "ewc online": (EWC, SPRINGS | {"mode": "online"}),
    "l2": (L2, {"weight": 1.0}),
    "mas": (MAS, {"weight": 1.0, "importance": "per_sample", **OMEGA}),
    "mas batch": (MAS, {"weight": 1.0, "importance": "batch", **OMEGA}),
    "si": (SI, {"weight": 1.0, "xi": 0.1, "gradient": "task", "negative": "clamp"}),
    "rwalk": (RWalk, {"weight": 1.0, **WALK}),
    "gdumb": (GDumb, {"buffer_size": 12}),
    "rehearsal": (Rehearsal, MEMORY | ONCE),
    "rehearsal appended": (Rehearsal, MEMORY | ONCE | {"loss": "appended"}),
    "rehearsal by steps": (
        Rehearsal,
        MEMORY
        | STEPS
        | ONCE
        | {"loss": "in_turn", "fill": "step", "replacement": False, "iterations": 2},
    ),
    "rehearsal_kd": (RehearsalKD, MEMORY | KD | {"distil_on": "both"}),
    "derpp": (DERpp, STEPS | {"replacement": True, "alpha": 0.5, "beta": 0.5}),
    "der": (DER, STEPS | {"replacement": True, "alpha": 0.5}),
    "er_ace": (ERACE, STEPS | {"replacement": True}),
    "fdr": (FDR, STEPS | {"replacement": True, "alpha": 0.5}),
    "gss": (
        GSS,
        {"buffer_size": 12, "replay_batch_size": 5, "loss": "in_turn", "iterations": 2}
        | {"gradients": 3, "gradient_batch_size": 2},
    ),
    "agem": (AGEM, STEPS | {"samples_per_task": None, "ridge": 0.0}),
    "gem": (
        GEM,
        {"buffer_size": 12, "policy": "class_balanced", "samples_per_task": 20, "margin": 0.5}
        | {"ridge": 1e-3, "appended": False},
    ),
    "gem appended": (
        GEM,
        {"buffer_size": 12, "policy": "class_balanced", "samples_per_task": None, "margin": 0.5}
        | {"ridge": 1e-3, "appended": True},
    ),
    "icarl": (ICaRL, {"buffer_size": 12, "samples_per_class": None, "T": 1.0}),
    "bic": (BiC, {"buffer_size": 60, "T": 2.0}),
    "wa": (WA, {"buffer_size": 12, "T": 2.0}),
    "dgr": (DGR, DRAWN | {"labels": "hard"}),
    "dgr soft": (DGR, DRAWN | {"labels": "soft"}),
    "generative_classifier": (GenerativeClassifier, {"widths": [8], "latent": 3, "samples": 4}),
    "ncm": (NCM, {}),
    "slda": (SLDA, {"shrinkage": 1e-4}),
    "ranpac": (RanPAC, {"projection": 30, "ridge": None}),
    "separate": (SeparateNetworks, {}),
    "ranpac fixed": (RanPAC, {"projection": 30, "ridge": 0.5}),
}


def make(name: str, **changed: object) -> Strategy:
    build, settings = MAKE[name]
    return build(tiny_network(), **{**settings, **changed})


def train(strategy: Strategy, stream: Stream, tasks: int, epochs: int = 2) -> None:
    """The training loop at its shortest."""
    for task in stream.tasks[:tasks]:
        learn(strategy, stream, task, epochs)


def learn(
    strategy: Strategy, stream: Stream, task: Task, epochs: int = 2, lr: float = 0.05
) -> None:
    """One task of the loop."""
    strategy.network.grow(task)
    strategy.begin_task(task)
    parameters = [p for p in strategy.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=lr, momentum=0.9)
    strategy.train()
    data = strategy.training_data(stream, task)
    assert len(data) == strategy.training_size(stream, task)
    for epoch in range(epochs):
        for new in batches(data, task, epoch=epoch, batch_size=16):
            for (batch,) in in_turns([new], strategy.turns(task)):
                optimizer.zero_grad()
                sum(strategy.objective(batch).values()).backward()
                strategy.after_backward(batch)
                optimizer.step()
                strategy.after_step(batch)
    strategy.end_task(task)


def weights(strategy: Strategy) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in strategy.network.state_dict().items()}


def equal(a: Strategy, b: Strategy) -> bool:
    return all(
        torch.equal(x, y) for x, y in zip(*(weights(s).values() for s in (a, b)), strict=True)
    )


@pytest.mark.parametrize(
    "name", [name for name, (kind, settings) in MAKE.items() if shares_first_task(kind, settings)]
)
def test_the_first_task_is_bit_equal_for_all(name: str) -> None:
    stream, reference, strategy = tiny_stream(), make("finetune"), make(name)
    train(reference, stream, 1)
    train(strategy, stream, 1)
    assert equal(reference, strategy)


@pytest.mark.parametrize(
    ("name", "off"),
    [
        ("ewc", {"weight": 0.0}),
        ("ewc online", {"weight": 0.0}),
        ("l2", {"weight": 0.0}),
        ("mas", {"weight": 0.0}),
        ("si", {"weight": 0.0}),
        ("rwalk", {"weight": 0.0}),
        ("lwf", {"alpha": 0.0}),
        ("kd", {"alpha": 0.0}),
    ],
)
def test_weight_zero_is_fine_tuning_bit_for_bit(name: str, off: dict[str, float]) -> None:
    stream, reference, strategy = tiny_stream(), make("finetune"), make(name, **off)
    train(reference, stream, 3)
    train(strategy, stream, 3)
    assert equal(reference, strategy)
    different = make(name)
    train(different, stream, 3)
    assert not equal(reference, different)  # with its weight it is something else


def test_rehearsal_kd_without_distillation_is_rehearsal_bit_for_bit() -> None:
    stream, reference = tiny_stream(), make("rehearsal")
    strategy = make("rehearsal_kd", alpha=0.0)
    train(reference, stream, 3)
    train(strategy, stream, 3)
    assert equal(reference, strategy)


@pytest.mark.parametrize("name", ["lwf", "kd", "rehearsal_kd"])
def test_the_distillation_term_and_its_gradient_vanish_at_the_teacher(name: str) -> None:
    stream, strategy = tiny_stream(), make(name)
    train(strategy, stream, 1)
    task = stream.tasks[1]
    strategy.network.grow(task)
    strategy.begin_task(task)
    strategy.train()
    term = strategy.objective(first_batch(stream, 1))["distillation"]
    gradients = torch.autograd.grad(term, list(strategy.network.parameters()), allow_unused=True)
    assert abs(term.item()) < 1e-6
    assert all(g.abs().max() < 1e-6 for g in gradients if g is not None)


@pytest.mark.parametrize("half", [True, False])
def test_the_offline_penalty_is_the_sum_over_all_earlier_tasks(half: bool) -> None:
    stream, strategy = tiny_stream(tasks=4), EWC(tiny_network(8), **{**SPRINGS, "half": half})
    springs = []
    add = strategy.fisher.add
    strategy.fisher.add = lambda f, t: (springs.append((f.clone(), t.clone())), add(f, t))[1]
    train(strategy, stream, 3)
    strategy.network.grow(stream.tasks[3])
    with torch.no_grad():
        for parameter in strategy.network.parameters():
            parameter.add_(torch.randn_like(parameter))
    term = strategy.objective(first_batch(stream, 3))["ewc"]
    theta = torch.nn.utils.parameters_to_vector(strategy.network.parameters())
    factor = 5.0 if half else 10.0
    separate = sum(factor * (f * (theta - t) ** 2).sum() for f, t in springs)
    assert len(springs) == 3
    torch.testing.assert_close(term, separate)
    parameters = list(strategy.network.parameters())
    for found, expected in zip(
        *(torch.autograd.grad(s, parameters) for s in (term, separate)), strict=True
    ):
        torch.testing.assert_close(found, expected)


def test_the_online_penalty_decays_and_moves_its_anchor() -> None:
    stream, strategy = tiny_stream(), make("ewc online", decay=0.5)
    seen = []
    replace = strategy.fisher.replace
    strategy.fisher.replace = lambda f, t: (seen.append((f.clone(), t.clone())), replace(f, t))[1]
    train(strategy, stream, 2)
    fresh = make("ewc online", decay=0.0)
    train(fresh, stream, 1)  # the same first task
    (first, _), (second, anchor) = seen
    torch.testing.assert_close(first, fresh.fisher.weight)
    theta = torch.nn.utils.parameters_to_vector(strategy.network.parameters())
    torch.testing.assert_close(strategy.fisher.anchor, theta.detach())
    torch.testing.assert_close(anchor, theta.detach())
    task = stream.tasks[1]
    from cl_runner.strategies.parts.fisher import fisher_diagonal

    alone = fisher_diagonal(strategy.network, task.train, task, estimator="exact", batch_size=1)
    torch.testing.assert_close(second, 0.5 * first + alone, rtol=1e-4, atol=1e-9)


def test_joint_trains_on_all_data_so_far() -> None:
    stream, strategy = tiny_stream(), make("joint")
    data = strategy.training_data(stream, stream.tasks[1])
    assert len(data) == len(stream.tasks[0].train) + len(stream.tasks[1].train)
    assert set(data.y.tolist()) == {0, 1, 2, 3}


def test_joint_from_scratch_begins_each_task_with_the_first_weights() -> None:
    stream, strategy = tiny_stream(), make("joint from scratch")
    body = {n: p.clone() for n, p in strategy.network.body.state_dict().items()}
    train(strategy, stream, 1)
    first_rows = tiny_network()
    first_rows.grow(stream.tasks[0])
    strategy.network.grow(stream.tasks[1])
    strategy.begin_task(stream.tasks[1])
    state = strategy.network.state_dict()
    assert all(torch.equal(state[f"body.{n}"], p) for n, p in body.items())
    assert torch.equal(state["classifier.weights.0"], first_rows.classifier.weights[0])
    assert strategy.network.classifier.born == 2


@pytest.mark.parametrize(
    ("on", "rows"), [("current", slice(16)), ("memory", slice(16, None)), ("both", slice(None))]
)
def test_what_rehearsal_kd_distils_on(on: str, rows: slice) -> None:
    stream, strategy = tiny_stream(), make("rehearsal_kd", distil_on=on)
    train(strategy, stream, 2)
    strategy.begin_task(stream.tasks[1])
    with torch.no_grad():
        for parameter in strategy.network.parameters():
            parameter.add_(0.1)
    batch = first_batch(stream, 1)
    replayed = strategy.memory.draw(batch, 5, "replay")
    x = torch.cat([batch.x, replayed.x])[rows]
    p, q = (torch.softmax(net(x)[:, :2] / 2, 1) for net in (strategy.teacher, strategy.network))
    kl = (p * (p / q).log()).sum(1).mean()
    torch.testing.assert_close(strategy.objective(batch)["distillation"], 0.5 * 4 * kl)


HOOKS = {name for name, value in vars(Strategy).items() if isfunction(value)} - {"__init__"}
OF_STEPS = {"objective", "after_backward", "after_step"}


@pytest.mark.parametrize("name", MAKE)
def test_the_state_dict_is_all_a_strategy_remembers(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new strategy with the same state continues with the same bits, in every hook."""
    stream, one, two = tiny_stream(), make(name), make(name)
    train(one, stream, 2)
    two.load_state_dict(one.state_dict())
    called = called_hooks(type(one), monkeypatch)
    batch, predictions, curvatures = first_batch(stream, 2), [], []
    for strategy in (one, two):
        learn(strategy, stream, stream.tasks[2], epochs=1)
        predictions.append(strategy.eval().predict(batch.x))
        curvatures.append(strategy.curvature())
    takes_steps = one.turns(stream.tasks[2]) > 0
    assert called >= HOOKS - {"log"} - (set() if takes_steps else OF_STEPS)
    assert torch.equal(*predictions) and curvatures[0] == curvatures[1]
    state = one.state_dict(), two.state_dict()
    assert all(
        torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
        for a, b in zip(*(s.values() for s in state), strict=True)
    )


def called_hooks(kind: type[Strategy], monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names of the contract's methods that are called from now on."""
    called: set[str] = set()

    def noting(name: str, method: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*arguments: object) -> object:
            called.add(name)
            return method(*arguments)

        return wrapped

    for name in HOOKS:
        monkeypatch.setattr(kind, name, noting(name, getattr(kind, name)))
    return called


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize(
    "scenario", ["class_incremental", "task_incremental", "domain_incremental"]
)
def test_every_strategy_runs_in_every_scenario(name: str, scenario: str) -> None:
    build, settings = MAKE[name]
    if (name, scenario) == ("separate", "domain_incremental"):
        return  # tasks share outputs: refused, see below
    classes = 2 if scenario == "domain_incremental" else 6
    strategy = build(tiny_network(classes), **settings)
    train(strategy, tiny_stream(scenario), 3)
    assert all(torch.isfinite(p).all() for p in strategy.network.parameters())


def test_the_teacher_never_trains() -> None:
    strategy = LwF(tiny_network(batch_norm=True), **LWF)
    strategy.train()
    assert strategy.network.training and not strategy.teacher.network.training
    assert not any(p.requires_grad for p in strategy.teacher.parameters())


def test_finetune_is_the_plain_loss() -> None:
    stream, strategy = tiny_stream(), make("finetune")
    strategy.network.grow(stream.tasks[0])
    batch = first_batch(stream, 0)
    expected = task_loss(strategy.network(batch.x), batch)
    assert torch.equal(strategy.objective(batch)["task"], expected)


@pytest.mark.parametrize("name", ["si", "rwalk"])
@pytest.mark.parametrize("task", [0, 1])
def test_an_optimizer_may_write_into_the_gradients(name: str, task: int) -> None:
    """As torch's SGD does with Nesterov's momentum on a GPU: what is summed up is g before that."""
    strategy, stream = make(name), tiny_stream()
    batch = first_batch(stream, task)
    for each in stream.tasks[: task + 1]:
        strategy.network.grow(each)
    parameters = strategy.network.trainable
    for number, p in enumerate(parameters):
        p.grad = torch.full_like(p, number + 1.0)
    sum(strategy.objective(batch).values())  # the springs have no weight yet
    strategy.after_backward(batch)
    with torch.no_grad():
        for p in parameters:
            p.grad.mul_(100)
            p.sub_(0.5)
    strategy.after_step(batch)
    g = torch.cat([torch.full((p.numel(),), number + 1.0) for number, p in enumerate(parameters)])
    found, expected = (strategy.path, 0.5 * g) if name == "si" else (strategy.squares, g.square())
    torch.testing.assert_close(found, expected)


def descend(strategy: SI, curvature: torch.Tensor, lr: float, steps: int) -> None:
    """Gradient descent of ½ Σ h θ² over the network's parameters, through SI's hooks."""
    batch = first_batch(tiny_stream(), 0)
    parameters = list(strategy.network.parameters())
    optimizer = torch.optim.SGD(parameters, lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        theta = torch.nn.utils.parameters_to_vector(parameters)
        penalty, strategy.pulls = strategy.springs.with_pulls(parameters)
        (0.5 * (curvature * theta.square()).sum() + strategy.weight * penalty).backward()
        strategy.after_backward(batch)
        optimizer.step()
        strategy.after_step(batch)


@pytest.mark.parametrize("lr", [0.1, 0.4])
def test_the_path_integral_on_a_quadratic_has_the_closed_form(lr: float) -> None:
    """On ½ h θ² each step multiplies θ by 1 − lr h, so ω is a geometric sum, and ω over the drop
    of the loss is exactly 1 / (1 − lr h / 2)."""
    task, strategy = tiny_stream().tasks[0], make("si")
    theta = torch.nn.utils.parameters_to_vector(strategy.network.parameters()).detach()
    h = torch.linspace(0.2, 1.0, len(theta))
    strategy.begin_task(task)
    descend(strategy, h, lr, steps=20)
    shrink = 1 - lr * h
    omega = lr * (h * theta) ** 2 * (1 - shrink**40) / (1 - shrink**2)
    torch.testing.assert_close(strategy.path, omega, rtol=1e-4, atol=1e-9)
    drop = 0.5 * h * theta**2 * (1 - shrink**40)
    torch.testing.assert_close(strategy.path, drop / (1 - lr * h / 2), rtol=1e-4, atol=1e-9)
    strategy.end_task(task)
    way = theta * (1 - shrink**20)
    expected = omega / (way.square() + strategy.xi)
    torch.testing.assert_close(strategy.springs.weight, expected, rtol=1e-4, atol=1e-9)
    assert not strategy.path.any()


def test_each_task_of_si_is_clamped_by_itself() -> None:
    """A clamp of the sum so far, as in the authors' code, would leave 10."""
    stream, strategy = tiny_stream(), make("si")
    for task, omega in zip(stream.tasks, (2.0, -1.0, 0.5), strict=True):
        strategy.begin_task(task)
        strategy.path.fill_(omega)
        strategy.end_task(task)  # no weight has moved, so Ω grows by max(0, ω) / xi
    torch.testing.assert_close(
        strategy.springs.weight, torch.full_like(strategy.path, (2.0 + 0.5) / 0.1)
    )


def test_what_the_penalty_pulls_is_not_counted() -> None:
    """Where the loss is flat, only the penalty moves the weights; that adds no importance."""
    task, strategy = tiny_stream().tasks[1], make("si")
    theta = torch.nn.utils.parameters_to_vector(strategy.network.parameters()).detach()
    strategy.springs.replace(torch.ones_like(theta), theta + 1)
    strategy.begin_task(task)
    descend(strategy, torch.zeros_like(theta), lr=0.05, steps=10)
    moved = torch.nn.utils.parameters_to_vector(strategy.network.parameters()) - theta
    assert (moved > 0.5).all()
    assert strategy.path.abs().max() < 1e-6


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_the_path_is_that_of_the_task_alone_before_clipping(optimizer: str) -> None:
    """Against ω summed with a gradient of the task's loss that is computed by itself."""
    stream, strategy = tiny_stream(), make("si", weight=0.3)
    strategy.network.grow(stream.tasks[0])
    strategy.network.grow(stream.tasks[1])
    theta = strategy.network.trainable
    flat = torch.nn.utils.parameters_to_vector(theta).detach()
    strategy.springs.replace(torch.rand_like(flat), flat + torch.randn_like(flat))
    strategy.begin_task(stream.tasks[1])
    make_step = composed(f"optimizer={optimizer}", "optimizer.weight_decay=0.1").optimizer
    steps, omega = make_step(theta, 0), torch.zeros_like(flat)
    for _ in range(5):
        batch = first_batch(stream, 1)
        terms = strategy.objective(batch)
        g = torch.autograd.grad(terms["task"], theta, retain_graph=True, allow_unused=True)
        parts = [torch.zeros_like(p) if d is None else d for p, d in zip(theta, g, strict=True)]
        before = torch.nn.utils.parameters_to_vector(theta).detach()
        steps.zero_grad()
        (terms["task"] + terms["si"]).backward()
        strategy.after_backward(batch)
        clip_gradient(theta, 0.01)
        steps.step()
        strategy.after_step(batch)
        moved = torch.nn.utils.parameters_to_vector(theta).detach() - before
        omega -= torch.nn.utils.parameters_to_vector(parts) * moved
    assert omega.abs().max() > 1e-4
    torch.testing.assert_close(strategy.path, omega, rtol=1e-4, atol=1e-7)


def test_gdumb_trains_from_scratch_on_a_balanced_memory_alone() -> None:
    """The result depends on the last memory, not on any earlier training."""
    stream, strategy = tiny_stream(), make("gdumb")
    train(strategy, stream, 3)
    stored = strategy.memory.labels
    assert torch.equal(torch.bincount(stored), torch.full((6,), 2))
    fresh = make("gdumb")
    for task in stream.tasks:  # no training in between
        fresh.network.grow(task)
        fresh.begin_task(task)
        assert fresh.training_size(stream, task) == len(fresh.training_data(stream, task)) == 12
    task, network = stream.tasks[2], fresh.network
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    memory = fresh.training_data(stream, task)
    for epoch in range(2):
        for batch in batches(memory, task, epoch=epoch, batch_size=16):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(batch.x), batch.y).backward()
            optimizer.step()
    assert equal(fresh, strategy)


def test_separate_networks_are_those_of_each_task_alone() -> None:
    """The outputs of each task are those of fine-tuning that begins with it."""
    stream, strategy = tiny_stream(), make("separate")
    train(strategy, stream, 3)
    x = torch.cat([first_batch(stream, t).x for t in range(3)])
    scores = strategy.eval().predict(x)
    for task in stream.tasks:
        alone = make("finetune")
        for earlier in stream.tasks[: task.index]:
            alone.network.grow(earlier)
        learn(alone, stream, task)
        mine = slice(2 * task.index, 2 * task.index + 2)
        assert torch.equal(scores[:, mine], alone.eval().predict(x)[:, mine])


def test_the_network_of_a_task_stays_as_it_ended() -> None:
    """Also if those of later tasks have a layer more."""
    stream = tiny_stream()
    strategy = SeparateNetworks(tiny_network(inserted_layer="random"))
    x, before = first_batch(stream, 0).x, torch.empty(16, 0)
    for task in stream.tasks:
        learn(strategy, stream, task)
        scores = strategy.eval().predict(x)[:, : task.seen]
        assert torch.equal(scores[:, : task.old], before[:, : task.old])
        before = scores


def test_separate_networks_need_outputs_of_their_own() -> None:
    network = tiny_network()
    network.classifier.split([6])
    with pytest.raises(ConfigError, match="here all tasks share theirs"):
        SeparateNetworks(network)


@pytest.mark.parametrize("name", MAKE)
def test_what_the_model_has_frozen_stays_as_it_is(name: str) -> None:
    """No weight, no statistic of the body moves; nothing is kept for its parameters."""
    build, settings = MAKE[name]
    network = tiny_network(batch_norm=True)
    network.body.requires_grad_(False)
    by_twos(network).fit_to(tiny_stream().outline, "seen")
    strategy, free = build(network, **settings), make(name)
    before = {key: value.clone() for key, value in network.body.state_dict().items()}
    train(strategy, tiny_stream(), 3)
    assert all(torch.equal(value, before[key]) for key, value in network.body.state_dict().items())
    assert all(p.grad is None for p in network.body.parameters())
    head = sum(p.numel() for p in network.classifier.parameters())
    for kept in ("fisher", "springs"):
        if hasattr(strategy, kept):
            weight = getattr(strategy, kept).weight
            assert len(weight) == head < len(getattr(free, kept).weight) and weight.any()
    trained = any(p.requires_grad for p in network.classifier.parameters())
    if trained and strategy.turns(tiny_stream().tasks[0]) > 0:
        assert all(p.any() for p in network.classifier.parameters())


def test_only_the_batch_norm_of_frozen_layers_stays_in_evaluation_mode() -> None:
    """All layers do in a body that is frozen as a whole."""
    network = tiny_network(batch_norm=True)
    normalisation = network.body[2]
    assert network.train().body[2].training
    network.body[1].requires_grad_(False)  # the layer before it
    network.fit_to(tiny_stream().outline, "seen")
    assert network.train().body[2].training
    normalisation.requires_grad_(False)
    network.fit_to(tiny_stream().outline, "seen")
    assert not any(layer.training for layer in network.train().body)


def test_dark_experience_replay_is_the_equation_on_two_independent_draws() -> None:
    stream, strategy = tiny_stream(scope="all"), make("derpp", alpha=0.3, beta=0.7)
    strategy.network.fit_to(stream.outline, "all")
    train(strategy, stream, 2)
    batch = first_batch(stream, 2)
    strategy.network.grow(stream.tasks[2])
    terms = strategy.objective(batch)
    first, second = (strategy.memory.draw(batch, 5, purpose) for purpose in ("logits", "labels"))
    assert not torch.equal(first.index, second.index)
    outputs, stored = strategy.network(first.x), first.columns["logits"]
    squares = [(outputs[i, c] - stored[i, c]).item() ** 2 for i in range(5) for c in range(6)]
    assert terms["logits"].item() == pytest.approx(0.3 * sum(squares) / 30, rel=1e-5)
    ce = torch.nn.functional.cross_entropy(strategy.network(second.x), second.y)
    torch.testing.assert_close(terms["labels"], 0.7 * ce)
    torch.testing.assert_close(terms["task"], task_loss(strategy.network(batch.x), batch))


def test_stored_logits_are_those_before_the_step_and_of_classes_that_were_there() -> None:
    """While no weight changes, the network still gives what is stored."""
    stream, strategy = tiny_stream(), make("derpp")
    learn(strategy, stream, stream.tasks[0], lr=0.0)
    assert strategy.objective(first_batch(stream, 0))["logits"].item() == pytest.approx(0, abs=1e-9)
    stored = strategy.memory.columns["logits"].clone()
    assert torch.isfinite(stored[:, :2]).all() and torch.isneginf(stored[:, 2:]).all()
    learn(strategy, stream, stream.tasks[1])
    assert strategy.objective(first_batch(stream, 1))["logits"].item() > 1e-4
    strategy.before.clear()
    roomy, batch = make("derpp", buffer_size=100), first_batch(stream, 0)
    roomy.network.grow(stream.tasks[0])
    logits = roomy.network(batch.x).detach()
    roomy.objective(batch)
    with torch.no_grad():
        for parameter in roomy.network.parameters():
            parameter.add_(1)  # a step
    roomy.after_step(batch)
    assert torch.equal(roomy.memory.columns["logits"][: len(logits)], logits)


@pytest.mark.parametrize(
    ("scenario", "ridge"),
    [("class_incremental", 0.0), ("task_incremental", 0.0), ("class_incremental", 0.5)],
)
def test_a_projected_gradient_does_not_raise_the_loss_on_the_memory(scenario, ridge) -> None:
    """g − (g·r / r·r) r is at a right angle to r; a gradient that does no harm stays as it is. In a
    task-incremental stream the rows of old tasks have no g of their own. A draw of more samples
    than are stored is the whole memory."""
    stream, strategy = tiny_stream(scenario), make("agem", ridge=ridge, replay_batch_size=50)
    train(strategy, stream, 1)
    task, network, projected = stream.tasks[1], strategy.network, []
    network.grow(task)
    strategy.begin_task(task)
    new_and_old = (
        batch
        for epoch, data in enumerate([*[task.train] * 4, stream.tasks[0].train])
        for batch in batches(data, task, epoch=epoch, batch_size=8)
    )
    for batch in new_and_old:
        stored = strategy.memory.samples(task.train.pixels)
        replayed = replace(batch, x=stored.x, y=stored.y)
        parameters = list(network.parameters())
        g, r = (
            torch.cat([
                torch.zeros(p.numel()) if d is None else d.flatten()
                for p, d in zip(parameters, gradient_of(network, one), strict=True)
            ])
            for one in (batch, replayed)
        )  # fmt: skip
        network.zero_grad()
        strategy.objective(batch)["task"].backward()
        network.classifier.leave_alone_what_rests(all_compete=task.competing is None)
        strategy.after_backward(batch)
        left = torch.cat([
            torch.zeros(p.numel()) if p.grad is None else p.grad.flatten() for p in parameters
        ])  # fmt: skip
        projected.append(bool(g @ r < 0))
        assert strategy.logged.pop("projected") == projected[-1]
        expected = g - (g @ r) / (r @ r + ridge) * r if projected[-1] else g
        torch.testing.assert_close(left, expected, rtol=1e-4, atol=1e-7)
        assert ridge or left @ r >= -1e-6
        torch.optim.SGD(parameters, lr=0.2).step()
    assert {True, False} == set(projected)


def test_the_reference_gradient_is_of_samples_that_differ(monkeypatch) -> None:
    stream, strategy = tiny_stream(), make("agem", buffer_size=6)
    train(strategy, stream, 1)
    batch, draw, drawn = first_batch(stream, 1), strategy.memory.draw, []
    strategy.network.grow(batch.task)
    strategy.objective(batch)["task"].backward()
    monkeypatch.setattr(strategy.memory, "draw", lambda *a: drawn.append(draw(*a)) or drawn[-1])
    for step in range(20):
        strategy.after_backward(replace(batch, position=(*batch.position[:-1], step)))
    assert {len(one.index.unique()) for one in drawn} == {5}  # of 6, each time
    assert len({tuple(one.index.sort().values.tolist()) for one in drawn}) > 1


@pytest.mark.parametrize("left", [1e-16, 1e-20, 1e-30])
def test_a_memory_without_any_loss_left_projects_nothing(left: float, monkeypatch) -> None:
    """The squares of its gradient vanish in float32, but not the dot product with g."""
    stream, strategy = tiny_stream(), make("agem")
    train(strategy, stream, 1)
    batch, network = first_batch(stream, 1), strategy.network
    network.grow(batch.task)
    strategy.objective(batch)["task"].backward()
    before = [None if p.grad is None else p.grad.clone() for p in network.parameters()]
    monkeypatch.setattr(agem, "task_loss", lambda *given: -left * task_loss(*given))
    monkeypatch.setattr(strategy.memory, "draw", lambda *given: batch)
    strategy.after_backward(batch)
    after = [p.grad for p in network.parameters()]
    assert all(a is b or torch.equal(a, b) for a, b in zip(after, before, strict=True))
    assert not strategy.logged["projected"]


def gradient_of(network: Network, batch: Batch) -> tuple[torch.Tensor | None, ...]:
    loss = task_loss(network(batch.x), batch)
    return torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)


def test_the_loss_of_icarl_is_that_of_separate_logistic_regressions() -> None:
    stream, strategy = tiny_stream(), make("icarl", T=2.0)
    train(strategy, stream, 1)
    task = stream.tasks[1]
    strategy.network.grow(task)
    batch = first_batch(stream, 1)
    terms = strategy.objective(batch)
    z, old = strategy.network(batch.x).tolist(), strategy.teacher(batch.x).tolist()

    def of(logit: float, q: float) -> float:
        p = 1 / (1 + math.exp(-logit))
        return -(q * math.log(p) + (1 - q) * math.log(1 - p))

    n = len(batch.y)
    kd = sum(of(z[i][c], 1 / (1 + math.exp(-old[i][c] / 2))) for i in range(n) for c in (0, 1)) / n
    new = sum(of(z[i][c], float(batch.y[i] == c)) for i in range(n) for c in (2, 3)) / n
    assert terms["distillation"].item() == pytest.approx(kd, rel=1e-5)
    assert terms["task"].item() == pytest.approx(new, rel=1e-5)


def test_icarl_trains_on_exemplars_and_predicts_the_nearest_mean() -> None:
    stream, strategy = tiny_stream(), make("icarl")
    train(strategy, stream, 2)
    data = strategy.training_data(stream, stream.tasks[2])
    assert torch.bincount(data.y).tolist() == [3, 3, 3, 3, 40, 40]
    stored = strategy.memory.images[: strategy.memory.stored]
    assert torch.equal(data.raw[-12:], stored)
    network, x = strategy.network.eval(), stream.test[0].x
    exemplars = strategy.memory.samples(stream.tasks[0].train.pixels)
    means = []
    for c in range(4):
        features = [f / f.norm() for f in network.features(exemplars.x[exemplars.y == c])]
        mean = sum(features) / len(features)
        means.append(mean / mean.norm())
    features = [f / f.norm() for f in network.features(x)]
    nearest = [min(range(4), key=lambda c: (f - means[c]).norm().item()) for f in features]
    assert strategy.predict(x)[:, :4].argmax(1).tolist() == nearest
    strategy.begin_task(stream.tasks[2])  # no means of the classes to come
    assert torch.equal(strategy.predict(x), network(x))


@pytest.mark.parametrize("scenario", ["class_incremental", "domain_incremental"])
def test_icarl_stores_so_many_of_each_class_and_no_more(scenario: str) -> None:
    """The herded ones that come first, also while there is room for more."""
    stream = tiny_stream(scenario)
    some, all_of_them = (make("icarl", buffer_size=30, samples_per_class=n) for n in (4, None))
    for strategy in (some, all_of_them):
        train(strategy, stream, 1)
    assert some.memory.stored == 8 and all_of_them.memory.stored == 30
    task = stream.tasks[1]
    assert some.training_size(stream, task) == len(some.training_data(stream, task)) == 88
    kept = some.memory.images[:8].split(4), all_of_them.memory.images[:30].split(15)
    assert all(torch.equal(a, b[:4]) for a, b in zip(*kept, strict=True))


def test_icarl_needs_classes() -> None:
    network = tiny_network()
    network.likelihood = GAUSSIAN
    with pytest.raises(ConfigError, match="needs classes, and the targets"):
        ICaRL(network, buffer_size=12, samples_per_class=None, T=1.0)
