"""A frozen body of torchvision through whole runs: it stays as it is and costs nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from own_data import arrays
from running import composed, final_state, run_here
from stopping import stopped_and_continued
from torch import nn

import cl_runner
from cl_runner.data.digits import Digits
from cl_runner.models import bodies
from cl_runner.training.run import build_strategy

BODY = ("model=torchvision", "model.body=shufflenet_v2_x0_5", "model.frozen=true", "threads=1")
FEW = ("dataset.tasks=2", "dataset.samples_per_task=20", "epochs=1", "batch_size=10")
HEAD = 2 * 2 * (1024 + 1)
"""Weights and biases of two tasks with two classes each."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run keeps for others is not the user's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def body_of(state: dict) -> dict[str, torch.Tensor]:
    return {k: v for k, v in state.items() if k.startswith("network.body.")}


def test_the_head_alone_has_gradients_a_fisher_and_optimizer_state(tmp_path: Path) -> None:
    run_here(tmp_path / "run", *BODY, *FEW, "strategy=ewc")
    state, strategy = final_state(tmp_path / "run"), build_strategy(composed(*BODY, *FEW))
    assert sum(p.numel() for p in strategy.network.trainable) == HEAD
    assert state["strategy"]["fisher.weight"].shape == (HEAD,)
    kept = state["optimizer"]["state"].values()
    assert 0 < sum(each["exp_avg"].numel() for each in kept) <= HEAD
    as_it_was = body_of(strategy.state_dict())
    assert any("running_mean" in key for key in as_it_was)
    for key, value in body_of(state["strategy"]).items():
        assert torch.equal(value, as_it_was[key]), key
    assert not strategy.network.features(torch.rand(2, 1, 8, 8)).requires_grad


def test_without_frozen_the_body_learns_and_its_statistics_move(tmp_path: Path) -> None:
    run_here(tmp_path / "run", *BODY, *FEW, "model.frozen=[conv1,stage2]", "model.resize=32")
    state = final_state(tmp_path / "run")["strategy"]
    begun = build_strategy(composed(*BODY, *FEW)).state_dict()
    moved = {k for k, v in body_of(state).items() if not torch.equal(v, begun[k])}
    frozen = ("network.body.layers.conv1.", "network.body.layers.stage2.")
    assert moved == {k for k in body_of(state) if not k.startswith(frozen)}


def test_continued_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    words = (*BODY, *FEW, "strategy=rehearsal", "model.classifier=cosine")
    run_here(tmp_path / "whole", *words)
    stopped_and_continued(tmp_path / "torn", *words, at=4)
    whole, torn = (final_state(tmp_path / name)["strategy"] for name in ("whole", "torn"))
    assert whole.keys() == torn.keys()
    tensors = [key for key in whole if isinstance(whole[key], torch.Tensor)]
    assert "network.classifier.scale" in tensors
    assert all(torch.equal(whole[key], torn[key]) for key in tensors)
    for file in ("metrics.jsonl", "predictions.npz"):
        first, second = (tmp_path / name / file for name in ("whole", "torn"))
        assert first.read_bytes() == second.read_bytes()


def test_its_network_is_loaded_without_reading_the_file_again(tmp_path: Path) -> None:
    """A run folder names no file outside of it, and the checkpoint has all weights."""
    from torchvision.models import shufflenet_v2_x0_5

    file = tmp_path / "w.pt"
    torch.save(shufflenet_v2_x0_5().state_dict(), file)
    place = (f"output_root={tmp_path}", "name=run", f"model.weights={file}")
    run = cl_runner.run(
        *BODY, *FEW, *place, "model.resize=32", "dataset.class_order=[3,1,2,0,4,5,6,7,8,9]"
    )
    file.write_bytes(b"not read")
    network = cl_runner.load_network(run.folder)
    assert network.classes == [3, 1, 2, 0] and network.network.body_rests
    _, test = Digits().load("")
    of = [test.labels == label for label in network.classes[:2]]
    pictures = torch.cat([test.images[mine] for mine in of])
    labels = torch.cat([test.labels[mine] for mine in of])
    assert network.preprocess(pictures).shape[1:] == (1, 8, 8)
    found = run.evaluate(pictures, labels)
    assert found.accuracy == pytest.approx(run.results.matrix[-1][0])


def test_the_probe_changes_no_draw(monkeypatch) -> None:
    """Of a body that draws whenever it is called, even where nothing is trained."""

    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drawn = nn.Parameter(torch.rand(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1)[:, :3] + self.drawn + torch.rand(3)

    def drawn() -> tuple[torch.Tensor, torch.Tensor]:
        torch.manual_seed(5)
        made = bodies.Body(Noisy(), (1, 4, 4), None, "noisy")
        return made.layers.drawn, torch.rand(4)

    with_probe = drawn()
    monkeypatch.setattr(bodies.Body, "_probed", lambda *_: 3)
    assert all(map(torch.equal, with_probe, drawn()))


@pytest.mark.parametrize(
    ("forward", "words"),
    [
        (lambda x: x.sum((1, 2, 3)), "gives a tensor [2] for two pictures, must give a row of"),
        (lambda x: x.flatten(), "gives a tensor [32] for two pictures"),
        (lambda x: (x, x), "gives a tuple for two pictures"),
        (lambda x: x.missing, "cannot take pictures of [1, 4, 4] ('Tensor' object has no"),
    ],
)
def test_a_body_without_rows_of_features_is_one_line(forward, words: str) -> None:
    layers = nn.Module()
    layers.forward = forward
    with pytest.raises(cl_runner.errors.ConfigError) as raised:
        bodies.Body(layers, (1, 4, 4), None, "mine.Body")
    assert str(raised.value).startswith("config error: body=mine.Body: ")
    assert words in str(raised.value) and "\n" not in str(raised.value)


def test_features_of_a_file_are_not_convolved(tmp_path: Path) -> None:
    arrays(tmp_path)
    data = ("dataset=arrays", f"dataset.root={tmp_path}", "dataset.tasks=2")
    words = "convolves pictures, and this data set holds features. Hint: model=mlp"
    for model in (BODY, ("model=resnet18", "model.width=2")):
        with pytest.raises(cl_runner.errors.ConfigError) as raised:
            build_strategy(composed(*data, *model))
        assert words in str(raised.value) and "\n" not in str(raised.value)
    with pytest.raises(cl_runner.errors.ConfigError, match=r"here are 1 × 6. Hint: model=mlp"):
        build_strategy(composed(*data, "model=cnn"))
    assert build_strategy(composed(*data, "model=wrapped")).network.classifier.features == 6
