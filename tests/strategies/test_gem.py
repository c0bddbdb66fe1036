"""GEM: its quadratic programme against other solvers and its optimality conditions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from test_strategies import gradient_of, make, train
from tiny import tiny_stream
from torch import Tensor
from torch.nn import functional as F

from cl_runner.data.batches import batches
from cl_runner.strategies.gem import GEM
from cl_runner.strategies.parts.cone import projected


def random_problem(seed: int, tasks: int, size: int = 30) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    G = torch.randn(tasks, size, generator=draw, dtype=torch.float64)
    return -G.sum(0) + torch.randn(size, generator=draw, dtype=torch.float64), G


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("margin", "ridge"), [(0.0, 0.0), (0.5, 1e-3), (0.5, 2.0)])
def test_v_is_where_a_general_solver_finds_the_minimum(seed: int, margin, ridge) -> None:
    """The dual as the paper prints it, solved by L-BFGS-B with bounds."""
    g, G = random_problem(seed, tasks=4)
    K, b = (G @ G.T).numpy() + ridge * np.eye(4), (G @ g).numpy()
    best = minimize(lambda v: 0.5 * v @ K @ v + b @ v, np.full(4, margin + 1.0),
                    jac=lambda v: K @ v + b, bounds=[(margin, None)] * 4,
                    options={"ftol": 1e-15, "gtol": 1e-10})  # fmt: skip
    expected = torch.from_numpy(best.x) @ G + g
    torch.testing.assert_close(projected(g, G, margin, ridge), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("seed", range(8))
def test_without_a_margin_no_old_loss_rises_and_nothing_nearer_is_as_harmless(seed: int) -> None:
    """The conditions of Karush, Kuhn and Tucker, with more tasks than any two of them share, and
    two tasks that are the same."""
    g, G = random_problem(seed, tasks=6)
    G[5] = G[0]
    left = projected(g, G, 0.0, 0.0)
    scale = float(g.norm() * G.norm())
    assert (G @ left >= -1e-7 * scale).all()
    v, *_ = torch.linalg.lstsq(G[:5].T, (left - g)[:, None])
    assert (v >= -1e-6).all()  # g̃ − g is a sum of their gradients with weights ≥ 0 …
    assert (v[:, 0] * (G[:5] @ left)).abs().max() <= 1e-6 * scale  # … of those that would be harmed
    harmless = projected(left, G, 0.0, 0.0)
    torch.testing.assert_close(harmless, left, atol=1e-6 * float(g.norm()), rtol=0)


def test_one_constraint_without_a_margin_is_a_gem() -> None:
    g, G = random_problem(3, tasks=1)
    r = G[0]
    assert g @ r < 0
    torch.testing.assert_close(projected(g, G, 0.0, 0.0), g - (g @ r) / (r @ r) * r)


def test_a_margin_favours_old_tasks() -> None:
    g, G = random_problem(1, tasks=3)
    angles = [(G @ projected(g, G, margin, 0.0)).sum() for margin in (0.0, 0.5, 1.0)]
    assert angles[0] < angles[1] < angles[2]


@pytest.mark.parametrize("scenario", ["class_incremental", "task_incremental"])
def test_a_step_projects_on_all_stored_samples_of_each_old_task(scenario: str) -> None:
    """And leaves a gradient that harms none as it is, bit for bit. In a task-incremental stream the
    rows of old tasks have no gradient of their own."""
    stream, strategy, seen = tiny_stream(scenario), make("gem", margin=0.0, ridge=0.0), set()
    train(strategy, stream, 2)
    task, network, memory = stream.tasks[2], strategy.network, strategy.memory
    network.grow(task)
    strategy.begin_task(task)
    old = memory.samples(task.train.pixels)
    again = stream.tasks[0].train + stream.tasks[1].train  # harms neither, as a rule
    for epoch, data in enumerate([*[task.train] * 6, again, again, again]):
        for batch in batches(data, task, epoch=epoch, batch_size=8):
            parameters = list(network.parameters())
            rows = []
            for classes in ([0, 1], [2, 3]):
                mine = torch.isin(old.y, torch.tensor(classes))
                logits = network(old.x[mine])
                if scenario == "task_incremental":
                    logits, shift = logits[:, classes], classes[0]
                else:
                    shift = 0
                loss = F.cross_entropy(logits, old.y[mine] - shift)
                rows.append(flat(torch.autograd.grad(loss, parameters, allow_unused=True), network))
            g, G = flat(gradient_of(network, batch), network), torch.stack(rows)
            network.zero_grad()
            strategy.objective(batch)["task"].backward()
            network.classifier.leave_alone_what_rests(all_compete=task.competing is None)
            strategy.after_backward(batch)
            left = flat([p.grad for p in parameters], network)
            harms = bool((G @ g < 0).any())
            seen.add(harms)
            assert strategy.logged.pop("projected") == harms
            if harms:
                assert (G @ left >= -1e-5 * G.norm() * g.norm()).all()
                torch.testing.assert_close(left, projected(g, G, 0.0, 0.0), rtol=1e-3, atol=1e-6)
            else:
                assert torch.equal(left, g)
            torch.optim.SGD(parameters, lr=0.2).step()
    assert seen == {True, False}


def flat(gradients, network) -> Tensor:
    pairs = zip(gradients, network.parameters(), strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in pairs])


def test_of_each_task_as_many_samples_are_stored_as_it_says() -> None:
    """However many slots are free: early tasks have no more samples than late ones."""
    stream, settings = tiny_stream(), {"policy": "reservoir", "samples_per_task": 7}
    strategy: GEM = make("gem", buffer_size=60, **settings)
    counts = []
    for task in stream.tasks:
        strategy.network.grow(task)
        strategy.end_task(task)
        counts.append([len(slots) for slots in strategy.memory.tasks()])
    assert counts == [[7], [7, 7], [7, 7, 7]]
    known = torch.cat([task.train.index for task in stream.tasks])
    assert torch.isin(strategy.memory.index[:21], known).all()
