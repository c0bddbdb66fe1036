"""Quadratic penalties: what holds a weight, against closed forms and loops over samples."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_strategies import FISHER, MAKE, equal, learn, make, train
from tiny import SHAPE, by_twos, first_batch, tiny_network, tiny_stream
from torch import nn
from torch.nn.utils import parameters_to_vector

from cl_runner.data.likelihood import GAUSSIAN
from cl_runner.errors import ConfigError
from cl_runner.models.network import Network
from cl_runner.strategies.ewc import EWC
from cl_runner.strategies.mas import MAS
from cl_runner.strategies.rwalk import RWalk, scaled
from cl_runner.strategies.si import SI


def linear(classes: int = 6) -> Network:
    """z = W x + b."""
    network = by_twos(Network(nn.Flatten(), SHAPE, 16, classes, init="default", new_rows="default"))
    return network


def omega(name: str, network: Network, task: int, **changed: object) -> torch.Tensor:
    """What MAS finds after a task, without training, [P]."""
    stream, (_, settings) = tiny_stream(), MAKE[name]
    strategy = MAS(network, **{**settings, **changed})
    for each in stream.tasks[: task + 1]:
        network.grow(each)
    strategy.end_task(stream.tasks[task])
    return strategy.springs.weight


def test_l2_is_ewc_with_a_fisher_information_of_one_bit_for_bit() -> None:
    """One anchor, no factor 1/2, and no pull at rows that the next task brings."""
    settings = {**FISHER, "fisher": "identity", "weight": 0.3, "half": False}
    same = EWC(tiny_network(), **settings, mode="online", decay=0.0)
    stream, strategy = tiny_stream(), make("l2", weight=0.3)
    train(same, stream, 3)
    train(strategy, stream, 3)
    assert equal(same, strategy)


def test_the_pull_of_l2_is_towards_the_last_weights_with_a_factor_of_two() -> None:
    stream, strategy = tiny_stream(), make("l2", weight=0.3)
    train(strategy, stream, 1)
    parameters = list(strategy.network.parameters())
    old = parameters_to_vector(parameters).detach()
    strategy.network.grow(stream.tasks[1])
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(torch.randn_like(parameter))
    way = parameters_to_vector(parameters).detach() - old
    rows, born = 6 * 9, torch.arange(6 * 9)
    later = torch.cat([born[: 6 * 8] >= 2 * 8, born[6 * 8 :] >= 6 * 8 + 2])
    way[-rows:][later] = 0
    term = strategy.objective(first_batch(stream, 1))["l2"]
    torch.testing.assert_close(term, 0.3 * way.square().sum())
    pull = parameters_to_vector(torch.autograd.grad(term, parameters))
    torch.testing.assert_close(pull, 0.6 * way)
    assert strategy.curvature() == pytest.approx(0.6)


def test_mas_of_a_linear_network_has_the_closed_form() -> None:
    """∂ ‖z‖² / ∂W[i, j] = 2 z[i] x[j]: its absolute value, then the mean over samples."""
    network = linear()
    found = omega("mas", network, 2)
    samples = tiny_stream().tasks[2].train
    x, z = samples.x.flatten(1), network(samples.x).detach()
    expected = [2 * (z.abs().T @ x.abs()).flatten(), 2 * z.abs().sum(0)]
    torch.testing.assert_close(found, torch.cat(expected) / len(x), rtol=1e-4, atol=1e-6)


def test_mas_is_not_the_gradient_of_a_mean_nor_of_the_norm() -> None:
    """Elsewhere samples cancel before the absolute value, or ‖f‖ is not squared."""
    network, samples = tiny_network(new_rows="default"), tiny_stream().tasks[1].train
    found = omega("mas", network, 1)
    parameters, loops = list(network.parameters()), {"squared": 0.0, "plain": 0.0}
    for x in samples.x:
        norm = network(x[None])[0, :4].norm()
        for name, value in (("squared", norm**2), ("plain", norm)):
            gradients = torch.autograd.grad(
                value, parameters, materialize_grads=True, retain_graph=True
            )
            loops[name] += parameters_to_vector(gradients).abs() / len(samples)
    torch.testing.assert_close(found, loops["squared"], rtol=1e-4, atol=1e-7)
    assert (found - loops["plain"]).norm() > 0.1 * found.norm()
    together = omega("mas batch", tiny_network(new_rows="default"), 1, importance_batch_size=80)
    assert (4 * together <= found * (1 + 1e-4) + 1e-7).all()
    assert 4 * together.sum() < 0.9 * found.sum()


def test_batches_of_one_give_the_per_sample_importance() -> None:
    """Up to the number of outputs, as the batch form is a mean over them, too."""
    per_sample = omega("mas", tiny_network(new_rows="default"), 1)
    batches = omega("mas batch", tiny_network(new_rows="default"), 1, importance_batch_size=1)
    torch.testing.assert_close(4 * batches, per_sample, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", ["mas", "mas batch"])
def test_mas_needs_no_labels(name: str) -> None:
    task, (_, settings) = tiny_stream().tasks[0], MAKE[name]
    labelled, unlabelled = (MAS(tiny_network(), **settings) for _ in range(2))
    for strategy in (labelled, unlabelled):
        strategy.network.grow(task)
    labelled.end_task(task)
    labels = torch.zeros_like(task.train.labels)
    unlabelled.end_task(replace(task, train=replace(task.train, labels=labels)))
    assert torch.equal(labelled.springs.weight, unlabelled.springs.weight)
    assert labelled.springs.weight.any()


@pytest.mark.parametrize("decay", [1.0, 0.25, 0.0])
def test_the_importances_of_tasks_add_up(decay: float) -> None:
    """The anchor is the last one. Without decay, only the last task counts."""
    stream, strategy = tiny_stream(), make("mas", decay=decay)
    train(strategy, stream, 1)
    first = strategy.springs.weight.clone()
    learn(strategy, stream, stream.tasks[1])
    fresh = make("mas")
    fresh.network.load_state_dict(strategy.network.state_dict())
    fresh.end_task(stream.tasks[1])
    expected = decay * first + fresh.springs.weight
    torch.testing.assert_close(strategy.springs.weight, expected)
    assert torch.equal(strategy.springs.anchor, fresh.springs.anchor)


def test_in_a_task_incremental_stream_mas_asks_the_outputs_of_the_task() -> None:
    stream, strategy = tiny_stream("task_incremental"), make("mas")
    train(strategy, stream, 2)
    before = strategy.springs.weight.clone()
    strategy.springs.weight.zero_()
    strategy.end_task(stream.tasks[1])
    head = strategy.springs.weight[-6 * 9 :]
    rows = torch.cat([head[: 6 * 8].view(6, 8), head[6 * 8 :, None]], 1)
    assert rows[2:4].any() and not rows[[0, 1, 4, 5]].any()
    assert before[-6:][:2].any()  # those of the first task are kept


def test_the_predicted_label_is_the_largest_output_of_those_that_compete() -> None:
    from cl_runner.strategies.parts.fisher import fisher_diagonal

    for scenario, classes in (("class_incremental", 4), ("task_incremental", 2)):
        stream, network = tiny_stream(scenario), tiny_network(new_rows="default")
        for task in stream.tasks[:2]:
            network.grow(task)
        task, parameters, total = stream.tasks[1], list(network.parameters()), 0.0
        wrong = 0
        for x, y in zip(task.train.x, task.train.y, strict=True):
            log_p = torch.log_softmax(network(x[None])[0, 4 - classes : 4], 0)
            wrong += int(log_p.argmax() != y - (4 - classes))
            gradients = torch.autograd.grad(log_p.max(), parameters, materialize_grads=True)
            total += parameters_to_vector(gradients).square() / len(task.train)
        found = fisher_diagonal(network, task.train, task, "predicted", batch_size=1)
        torch.testing.assert_close(found, total, rtol=1e-4, atol=1e-9)
        assert wrong > 0  # or it would be the empirical one
        empirical = fisher_diagonal(network, task.train, task, "empirical", batch_size=1)
        assert not torch.allclose(found, empirical, rtol=0.1)


def test_in_regression_there_is_no_information_in_the_prediction() -> None:
    network = tiny_network()
    network.likelihood = GAUSSIAN
    with pytest.raises(ConfigError, match=r"^config error: fisher=predicted: is zero in regress"):
        EWC(network, **{**MAKE["ewc"][1], "fisher": "predicted"})


def test_negative_contributions_of_si_are_kept_if_asked_for() -> None:
    stream, strategy = tiny_stream(), make("si", negative="keep")
    for task, path in zip(stream.tasks, (2.0, -1.0, 0.5), strict=True):
        strategy.begin_task(task)
        strategy.path.fill_(path)
        strategy.end_task(task)  # no weight has moved
    expected = torch.full_like(strategy.path, (2.0 - 1.0 + 0.5) / 0.1)
    torch.testing.assert_close(strategy.springs.weight, expected)


def test_the_total_gradient_of_si_counts_the_penalty() -> None:
    """On ½ (h + k) θ² + const, of which the penalty k θ² / 2 is a part, ω is that of h + k."""
    task, paths = tiny_stream().tasks[1], {}
    theta = parameters_to_vector(tiny_network().parameters()).detach()
    h, k, lr, steps = torch.full_like(theta, 0.3), 0.5, 0.2, 10
    for gradient in ("task", "total"):
        strategy = make("si", weight=k / 2, gradient=gradient)
        strategy.springs.replace(torch.ones_like(theta), torch.zeros_like(theta))
        strategy.begin_task(task)
        walk(strategy, h, lr, steps)
        paths[gradient] = strategy.path
    shrink = 1 - lr * (h + k)
    total = lr * ((h + k) * theta) ** 2 * (1 - shrink ** (2 * steps)) / (1 - shrink**2)
    torch.testing.assert_close(paths["total"], total, rtol=1e-4, atol=1e-9)
    torch.testing.assert_close(paths["task"], total * h / (h + k), rtol=1e-4, atol=1e-9)


def walk(strategy: RWalk | SI, curvature: torch.Tensor, lr: float, steps: int) -> None:
    """Gradient descent of ½ Σ h θ² over the network's parameters, through the hooks."""
    batch = first_batch(tiny_stream(), 1)  # where the penalty counts
    parameters = list(strategy.network.parameters())
    optimizer = torch.optim.SGD(parameters, lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        theta = parameters_to_vector(parameters)
        is_si = isinstance(strategy, SI)
        pull = strategy.penalty() if is_si else strategy.weight * strategy.springs(parameters)
        (0.5 * (curvature * theta.square()).sum() + pull).backward()
        strategy.after_backward(batch)
        optimizer.step()
        strategy.after_step(batch)


@pytest.mark.parametrize("form", ["paper", "code"])
@pytest.mark.parametrize("steps", [12, 10])
def test_riemannian_walk_on_a_quadratic_has_the_closed_form(form: str, steps: int) -> None:
    """On ½ h θ² a step multiplies θ by q = 1 − lr h: sums over an interval are geometric. With ten
    steps the last interval is cut short."""
    lr, alpha, eps, task = 0.3, 0.8, 1e-3, tiny_stream().tasks[0]
    strategy = make("rwalk", alpha=alpha, interval=4, form=form)
    theta = parameters_to_vector(strategy.network.parameters()).detach().double()
    h = torch.linspace(0.2, 1.0, len(theta)).double()
    strategy.begin_task(task)
    walk(strategy, h.float(), lr, steps)
    q, fisher, score, total = 1 - lr * h, torch.zeros_like(h), torch.zeros_like(h), 0.0
    for start in range(0, steps, 4):
        length = min(4, steps - start)
        begin, geometric = theta * q**start, (1 - q ** (2 * length)) / (1 - q**2)
        squares = (h * begin) ** 2 * geometric  # Σ g², of which Σ −g δ is lr times
        total = squares + (total if form == "code" else 0)
        fisher = (1 - alpha) * fisher + alpha * total / length
        moved = begin * (1 - q**length)
        score = score + lr * squares / (0.5 * fisher * moved**2 + eps)
    strategy.end_task(task)
    close = {"rtol": 1e-4, "atol": 1e-9}
    torch.testing.assert_close(strategy.running_fisher, fisher.float(), **close)
    torch.testing.assert_close(strategy.scores, score.float(), **close)
    between = [(v - v.min()) / (v.max() - v.min()) for v in (fisher, score)]
    torch.testing.assert_close(strategy.springs.weight, sum(between).float(), rtol=1e-3, atol=1e-6)
    for empty in ("score", "squares", "path_integral", "steps"):
        assert not getattr(strategy, empty).any(), empty


def test_where_the_loss_rises_there_is_no_score_and_the_penalty_does_not_count() -> None:
    """The penalty pulls every weight up from 1; a loss of ½ h θ² rises, one of zero stays."""
    for h, fisher in ((0.1, True), (0.0, False)):
        task, strategy = tiny_stream().tasks[1], make("rwalk", interval=5)
        with torch.no_grad():
            for parameter in strategy.network.parameters():
                parameter.fill_(1.0)
        strategy.begin_task(task)
        ones = torch.ones_like(strategy.passed)
        strategy.springs.replace(ones, 2 * ones)
        walk(strategy, h * ones, lr=0.05, steps=5)
        moved = parameters_to_vector(strategy.network.parameters()) - ones
        assert (moved > 0.1).all() and strategy.score.max() < 1e-4
        assert (strategy.running_fisher.min() > 1e-3) == fisher


@pytest.mark.parametrize(("form", "expected"), [("paper", [2.0, 3.0, 2.0]), ("code", [2, 5, 8])])
def test_the_scores_of_tasks_are_averaged(form: str, expected: list[float]) -> None:
    """Not added up, as the authors' code does: it grows more and more rigid."""
    stream, strategy, kept = tiny_stream(), make("rwalk", form=form), []
    for task, own in zip(stream.tasks, (2.0, 4.0, 1.0), strict=True):
        strategy.begin_task(task)
        strategy.score.fill_(own)
        strategy.end_task(task)
        kept.append(strategy.scores[0].item())
    assert kept == pytest.approx(expected)


def test_both_importances_are_between_zero_and_one() -> None:
    stream, strategy, plain = tiny_stream(), make("rwalk"), make("rwalk", path=False)
    for each in (strategy, plain):
        train(each, stream, 1)
    fisher, score = scaled(strategy.running_fisher), scaled(strategy.scores)
    for part in (fisher, score):
        assert part.min() == 0 and part.max() == 1
    torch.testing.assert_close(strategy.springs.weight, fisher + score)
    torch.testing.assert_close(plain.springs.weight, fisher)
    assert torch.equal(scaled(torch.full((3,), 7.0)), torch.zeros(3))
