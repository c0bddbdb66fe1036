"""Networks and the classifier that grows."""

from __future__ import annotations

import pytest
import torch
from running import composed
from tiny import SHAPE, by_twos, tiny_network, tiny_stream

from cl_runner.models.cnn import cnn_leaky
from cl_runner.models.mlp import mlp
from cl_runner.models.network import Network
from cl_runner.randomness import seeded

SHAPES = {"mlp": (1, 28, 28), "cnn": (1, 28, 28), "cnn_leaky": (3, 32, 32), "resnet18": (3, 32, 32)}


@pytest.mark.parametrize("name", SHAPES)
def test_logits_of_classes_not_born_are_minus_infinity(name: str) -> None:
    with seeded("test"):
        network = by_twos(composed(f"model={name}").model(SHAPES[name], 6))
    x = torch.rand(3, *SHAPES[name])
    for task in tiny_stream().tasks:
        network.grow(task)
        logits = network(x)
        assert torch.isfinite(logits[:, : task.seen]).all()
        assert (logits[:, task.seen :] == -torch.inf).all()
        assert network.features(x).shape == (3, network.classifier.weight.shape[1])


def test_the_network_of_experiment_1() -> None:
    network = composed("experiment=fashion_mnist_6_4").model((1, 28, 28), 10)
    sizes = [tuple(p.shape) for p in network.parameters()]
    assert sizes == [(16, 1, 3, 3), (16,), (32, 16, 3, 3), (32,), (512, 6272), (512,),
                     (10, 512), (10,)]  # fmt: skip
    weights = list(network.parameters())
    assert weights[0].std().item() == pytest.approx((2 / 9) ** 0.5, rel=0.2)  # gain of ReLU
    assert weights[2].std().item() == pytest.approx((2 / 144) ** 0.5, rel=0.1)
    assert weights[4].std().item() == pytest.approx((1 / 6272) ** 0.5, rel=0.01)  # gain 1
    assert not weights[1].any() and not weights[5].any()


@pytest.mark.parametrize(
    "new_rows", ["zero", "default", "kaiming_normal", "xavier_uniform", "truncated_normal"]
)
def test_growing_leaves_old_rows_untouched(new_rows: str) -> None:
    network, tasks = tiny_network(new_rows=new_rows), tiny_stream().tasks
    network.grow(tasks[0])
    before = network.classifier.weight.detach().clone()
    assert before[:2].any() and not before[2:].any()  # the first rows are drawn like the body
    network.grow(tasks[1])
    after = network.classifier.weight.detach()
    assert torch.equal(after[:2], before[:2])
    assert after[2:4].any() == (new_rows != "zero")
    assert not after[4:].any()


def test_new_rows_are_a_function_of_seed_and_task() -> None:
    rows = []
    for noise, seed in ((1, 0), (2, 0), (1, 1)):
        network, tasks = tiny_network(new_rows="default"), tiny_stream(seed=seed).tasks
        torch.manual_seed(noise)
        torch.rand(noise)
        state = torch.get_rng_state()
        for task in tasks[:2]:
            network.grow(task)
        assert torch.equal(torch.get_rng_state(), state)
        rows.append(network.classifier.weight.detach().clone())
    one, same, of_another_seed = rows
    assert torch.equal(one, same)
    assert not torch.isclose(one[:4], of_another_seed[:4]).any()
    assert not torch.isclose(one[:2], one[2:4]).any()  # of another task


def grown(tasks: int, **settings: object) -> Network:
    torch.manual_seed(3)
    common = {"widths": [8], "activation": "relu", "batch_norm": False, "freeze_statistics": False,
              "classifier": "linear", "init": "default", "new_rows": "zero",
              "inserted_layer": "none"}  # fmt: skip
    network = by_twos(mlp(SHAPE, 6, **{**common, **settings}))
    for task in tiny_stream().tasks[:tasks]:
        network.grow(task)
    return network


@pytest.mark.parametrize("inserted", ["random", "identity"])
def test_a_layer_is_inserted_when_the_second_task_begins(inserted: str) -> None:
    x = tiny_stream().tasks[0].train.x
    before, plain = (grown(1, inserted_layer=i) for i in (inserted, "none"))
    assert torch.equal(before(x), plain(x))  # as if it were not there
    after, plain = (grown(2, inserted_layer=i) for i in (inserted, "none"))
    same = torch.equal(after(x)[:, :2], plain(x)[:, :2])
    assert same == (inserted == "identity")
    features = plain.features(x)
    layer = after.inserted[0]
    expected = torch.relu(features @ layer.weight.T + layer.bias)
    torch.testing.assert_close(after.features(x), expected)
    later = grown(3, inserted_layer=inserted).inserted[0]
    assert torch.equal(later.weight, layer.weight)  # and inserted once


def test_a_random_layer_is_drawn_as_torch_draws_it_whatever_the_network_is() -> None:
    """Uniform within ± 1/√features, biases too: the published numbers of experiment 1 need it."""
    network = grown(2, init="kaiming_normal", widths=[400], inserted_layer="random")
    for drawn in network.inserted[0].parameters():
        assert drawn.abs().max() <= 400**-0.5
        assert drawn.std().item() == pytest.approx((3 * 400) ** -0.5, rel=0.1)


def test_xavier_is_drawn_from_the_sum_of_inputs_and_outputs() -> None:
    """Uniform within ± √(6 / (inputs + outputs)), so its s.d. is √(2 / (inputs + outputs))."""
    network = grown(1, init="xavier_uniform", widths=[400])
    weight = network.body[1].weight.detach()
    outputs, inputs = weight.shape
    assert weight.abs().max() <= (6 / (inputs + outputs)) ** 0.5
    assert weight.std().item() == pytest.approx((2 / (inputs + outputs)) ** 0.5, rel=0.05)
    assert not network.body[1].bias.any()


def test_a_truncated_normal_is_cut_at_two_standard_deviations() -> None:
    """Which leaves a standard deviation of 0.880 of the 0.1 that it is drawn with."""
    network = grown(1, init="truncated_normal", widths=[400])
    weight = network.body[1].weight.detach()
    assert weight.abs().max() <= 0.2
    assert weight.std().item() == pytest.approx(0.0880, rel=0.03)
    assert torch.equal(network.body[1].bias, torch.full((400,), 0.1))
    assert network.classifier.biases[0].tolist() == [pytest.approx(0.1)] * 2


def test_an_inserted_layer_is_part_of_the_state() -> None:
    x = tiny_stream().tasks[0].train.x
    network, copy = grown(2, inserted_layer="random"), grown(0, inserted_layer="random")
    copy.load_state_dict(network.state_dict())
    assert torch.equal(copy(x), network(x))


@pytest.mark.parametrize("freeze", [True, False])
def test_statistics_may_be_frozen_at_those_of_the_first_task(freeze: bool) -> None:
    tasks = tiny_stream().tasks
    network = grown(1, batch_norm=True, freeze_statistics=freeze).train()
    norm = network.body[2]
    network(tasks[0].train.x)
    first = norm.running_mean.clone()
    assert first.any()
    network.grow(tasks[1])
    for _ in range(2):  # also after an evaluation
        network.eval().train()
        network(tasks[1].train.x)
    assert torch.equal(norm.running_mean, first) == freeze
    assert network.training and norm.training != freeze


def test_dropout_acts_in_training_alone() -> None:
    network = cnn_leaky((1, 8, 8), 4, channels=[4], hidden=200, negative_slope=0.01, dropout=0.5,
                        init="default", new_rows="zero", classifier="linear")  # fmt: skip
    x = torch.randn(3, 1, 8, 8)
    dropped = (network.train().features(x) == 0).float().mean()
    assert 0.4 < dropped < 0.6
    assert (network.eval().features(x) == 0).float().mean() < 0.01
