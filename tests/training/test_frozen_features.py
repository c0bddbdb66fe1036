"""The features of a frozen body stand for pictures: computed once, kept, the same in every use."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from running import composed, final_state, run_here, trained
from torch import nn

import cl_runner
from cl_runner.config import targets
from cl_runner.config.targets import target
from cl_runner.data.arrays import OutOfCore
from cl_runner.data.samples import Pixels
from cl_runner.data.stream import Stream
from cl_runner.models.network import Network
from cl_runner.training import frozen_features
from cl_runner.training.run import build_strategy
from cl_runner.training.state import check_fits

OWN = f"model.body._target_={__name__}.Small"
RUN = ("model=wrapped", "+model.body.width=12", "model.frozen=true", "epochs=2", "batch_size=64",
       f"trusted_targets=[{__name__}]", OWN)  # fmt: skip


@target
class Small(nn.Sequential):
    """A convolution with BatchNorm and Dropout."""

    def __init__(self, shape: tuple[int, int, int], *, width: int) -> None:
        super().__init__(
            nn.Conv2d(shape[0], width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.5),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        )  # fmt: skip


@target
class Scaled(nn.Module):
    """Neither its weights nor its repr tell the scale."""

    def __init__(self, shape: tuple[int, int, int], *, scale: float) -> None:
        super().__init__()
        self.scale, self.layers = scale, nn.Linear(prod(shape), 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x.flatten(1)) * self.scale


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(targets, "TRUSTED", {*targets.TRUSTED, __name__})
    yield


def files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").rglob("*.float32"))


def plain_stream(pixels: Pixels | None = None) -> Stream:
    dataset = composed(*RUN).dataset
    dataset.pixels = pixels or dataset.pixels
    return dataset.load(seed=0, scope="seen", device="cpu")


def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on a frozen body computes its features at each step."""
    monkeypatch.setattr(Network, "body_rests", property(lambda network: False))


@pytest.mark.parametrize(
    "words",
    [
        ("strategy=ewc",),
        ("strategy=derpp", "strategy.buffer_size=30", "dataset.validation_fraction=0.1"),
        ("strategy=icarl", "dataset.class_order=random", "dataset.samples_per_task=50"),
        ("strategy=lwf", "model.classifier=cosine", "dataset.pixels.padding=1"),
        ("dataset=permuted_mnist", "dataset.source._target_=cl_runner.data.digits.Digits",
         "dataset.tasks=3", "dataset.samples_per_task=200"),
    ],
    ids=["ewc", "derpp", "icarl", "lwf", "permutations"],
)  # fmt: skip
def test_a_run_is_as_if_they_were_computed_at_each_step(words, tmp_path, monkeypatch) -> None:
    """Up to rounding. The body is in evaluation mode there, too, as all of it is frozen."""
    here = run_here(tmp_path / "here", *RUN, *words)
    network = trained(tmp_path / "here", *RUN, *words).network
    without(monkeypatch)
    monkeypatch.setattr(Network, "train", still)
    there = run_here(tmp_path / "there", *RUN, *words)
    other = trained(tmp_path / "there", *RUN, *words).network
    assert here["tasks"] == there["tasks"]  # with the digests of the pictures
    torch.testing.assert_close(network.classifier.weight, other.classifier.weight)
    for row, expected in zip(here["accuracy"], there["accuracy"], strict=True):
        assert row == pytest.approx(expected, abs=0.011)
    assert len(files(tmp_path)) == 2


def still(network: Network, mode: bool = True) -> Network:
    nn.Module.train(network, mode)
    network.body.eval()
    return network


@pytest.mark.parametrize(
    "words", [("dataset.pixels.flip=true",), ("model.frozen=false",), ("model.frozen=['0']",)]
)
def test_a_body_that_learns_or_sees_other_pictures_each_time_is_asked_each_time(
    words: Any, tmp_path: Path
) -> None:
    assert not build_strategy(composed(*RUN, *words)).network.skips_body
    run_here(tmp_path / "run", *RUN, *words)
    assert files(tmp_path) == []


def test_a_run_does_not_go_on_with_the_features_of_another_body(tmp_path: Path) -> None:
    file = tmp_path / "w.pt"
    words = (*RUN, f"model.weights={file}", "dataset.samples_per_task=20")

    def write(seed: int) -> None:
        torch.manual_seed(seed)
        torch.save(Small((1, 8, 8), width=12).state_dict(), file)

    write(0)
    run_here(tmp_path / "run", *words)
    state = final_state(tmp_path / "run")
    write(1)
    settings, strategy = composed(*words), build_strategy(composed(*words))
    optimizer = settings.optimizer(strategy.parameters(), 0)
    with pytest.raises(ValueError, match="its frozen body had other weights then"):
        check_fits(state, strategy, optimizer)


def test_regression_records_its_inputs_not_their_features(tmp_path: Path) -> None:
    words = ("dataset=regression_rbf", f"model.body._target_={__name__}.Scaled", RUN[-2],
             "model=wrapped", "+model.body.scale=1.0", "model.frozen=true")  # fmt: skip
    run_here(tmp_path / "run", *words, "epochs=1", "batch_size=100")
    stream = composed(*words).dataset.load(seed=0, scope="seen", device="cpu")
    with np.load(tmp_path / "run" / "predictions.npz") as kept:
        inputs = torch.cat([samples.raw for samples in stream.test])
        assert kept["inputs"].tolist() == inputs.flatten().tolist()


def test_the_trained_network_takes_pictures(tmp_path, monkeypatch) -> None:
    """From Python it predicts what the run predicted."""
    run = cl_runner.run(*RUN, "strategy=icarl", "name=run", f"output_root={tmp_path}")
    network = cl_runner.load_network(tmp_path / "run", trusted_targets=[__name__])
    stream = plain_stream()
    for accuracy, samples in zip(run.results.accuracy[-1], stream.test, strict=True):
        found = network(samples.x).argmax(1) == samples.y
        assert found.float().mean().item() == pytest.approx(accuracy, abs=1e-6)


def test_rows_of_a_mapped_file_are_read_ahead(tmp_path, monkeypatch) -> None:
    strategy, stream = build_strategy(composed(*RUN)), plain_stream()
    monkeypatch.setattr(frozen_features, "fits", lambda size: False)
    made, _ = frozen_features.of_stream(stream, strategy.network, "cpu", {})
    assert isinstance(made.tasks[0].train.images, OutOfCore)
    with torch.no_grad():
        expected = strategy.eval().network.body(stream.tasks[1].train.x)
    assert torch.allclose(made.tasks[1].train.x.flatten(1), expected, atol=1e-6)
    assert (made.sha256, made.test_sha256) == (stream.sha256, stream.test_sha256)
