"""Bodies of torchvision, of timm and of one's own package; frozen parts; the cosine classifier."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from running import composed, final_state, run_here
from tiny import by_twos, first_batch, tiny_stream
from torch import nn

from cl_runner.errors import ConfigError
from cl_runner.models.bodies import Body
from cl_runner.models.classifier import GrowingClassifier
from cl_runner.models.network import Network
from cl_runner.randomness import seeded
from cl_runner.training.run import build_strategy

SMALL = ("model=torchvision", "model.body=shufflenet_v2_x0_5")


def built(*overrides: str, shape: tuple[int, int, int] = (3, 32, 32), classes: int = 6) -> Network:
    with seeded("test"):
        return composed(*overrides).model(shape, classes)


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "googlenet", "mobilenet_v3_small"])
def test_a_body_is_the_model_without_its_last_layer(name: str) -> None:
    """With that layer on its features, it gives what torchvision's whole model gives."""
    from torchvision import models

    options = {"aux_logits": False, "init_weights": True} if name == "googlenet" else {}
    with seeded("test"):
        whole = models.get_model(name, weights=None, **options).eval()
    network, x = built("model=torchvision", f"model.body={name}").eval(), torch.rand(2, 3, 32, 32)
    layers = [m for m in whole.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    last = layers[-1]
    seen = []
    last.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    whole(x)
    expected = seen[0]
    if expected.dim() == 4:  # squeezenet: the classes are channels; then ReLU and the mean
        expected = expected.relu().mean((2, 3))
    torch.testing.assert_close(network.features(x), expected)
    assert network.classifier.features == expected.shape[1]


def test_grey_pictures_are_repeated_and_scaled_in_the_network() -> None:
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1))
    x = torch.rand(5, 1, 8, 8)
    state = torch.get_rng_state()
    body = Body(layers, (1, 8, 8), 16, "mine")
    assert torch.equal(torch.get_rng_state(), state) and body.width == 4
    large = nn.functional.interpolate(
        x.repeat(1, 3, 1, 1), (16, 16), mode="bilinear", antialias=True
    )
    torch.testing.assert_close(body(x), layers(large).flatten(1))


def test_only_the_named_parts_are_frozen() -> None:
    network = built("model=resnet18", "model.width=4", "model.frozen=[conv1,bn1,layer2.0]")
    frozen = {name for name, p in network.body.named_parameters() if not p.requires_grad}
    every = [name for name, _ in network.body.named_parameters()]
    assert frozen == {n for n in every if n.startswith(("conv1.", "bn1.", "layer2.0."))}
    network.train()
    assert not network.body.bn1.training and network.body.layer1[0].bn1.training
    assert not network.body_rests and built(*SMALL, "model.frozen=true").body_rests


def test_a_frozen_body_rests_and_has_no_state_in_the_optimizer() -> None:
    layers = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Dropout(0.5)).requires_grad_(False)
    network = Network(layers, (1, 4, 4), 8, 6, init="default", new_rows="default").train()
    assert not layers[2].training and network.training
    x = torch.rand(4, 1, 4, 4)
    assert (
        torch.equal(network.features(x), network.features(x))
        and not network.features(x).requires_grad
    )


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("model.body=resnet19",), "no such model for classes. Hint: did you mean resnet18?"),
        (("model.frozen=[layr1]",), "the body has no part layr1. Hint: did you mean layer1?"),
        (("model.weights=none.pt",), "there is no such file"),
        (("model.weights=bad.pt",), "model.weights=bad.pt: cannot be read"),
        (("model.weights=evil.pt",), "holds Python objects"),
        (("model.weights=other.pt",), "does not fit a ResNet: Missing key(s)"),
        (("model.weights=other.pt", "model.init=xavier_uniform"), "would draw the weights again"),
        (("model.body=alexnet",), "cannot take pictures of [1, 8, 8]"),
        (("model.classifier=cosine", "model.new_rows=zero"), "has no direction"),
    ],
)
def test_what_cannot_be_built_is_one_line(overrides, words, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.pt").write_bytes(b"PK\3\4 damaged")
    torch.save({"x": Path}, "evil.pt")
    torch.save({"conv": torch.zeros(2)}, "other.pt")
    with pytest.raises(ConfigError) as raised:
        build_strategy(composed("model=torchvision", *overrides))
    assert words in str(raised.value) and "\n" not in str(raised.value)
    assert str(raised.value).startswith("config error: model.")


def test_weights_from_a_file_are_those_of_the_file(tmp_path: Path) -> None:
    """Except for its last layer, whichever classes it has."""
    from torchvision.models import shufflenet_v2_x0_5

    theirs = shufflenet_v2_x0_5(num_classes=7)
    torch.save(theirs.state_dict(), tmp_path / "w.pt")
    network = built(*SMALL, f"model.weights={tmp_path / 'w.pt'}")
    ours = network.body.layers.state_dict()
    kept = {k: v for k, v in theirs.state_dict().items() if not k.startswith("fc.")}
    assert ours.keys() == kept.keys() and all(torch.equal(ours[k], kept[k]) for k in kept)


def test_weights_that_cannot_be_downloaded_are_one_line(monkeypatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: "/nowhere")
    monkeypatch.setattr("os.makedirs", lambda *_, **__: None)
    with pytest.raises(
        ConfigError, match=r"cannot be downloaded .*Hint: put https.*pth into /nowhere"
    ):
        built(*SMALL, "model.weights=DEFAULT")


def test_a_body_of_ones_own_package(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "nets.py").write_text(
        "from torch import nn\n"
        "from cl_runner.config.targets import target\n"
        "@target\n"
        "class Tiny(nn.Sequential):\n"
        "    def __init__(self, shape, *, units: int):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(shape[1] * shape[2], units))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    results = run_here(
        tmp_path / "run", "trusted_targets=[nets]", "model=wrapped", "epochs=1",
        "model.body._target_=nets.Tiny", "+model.body.units=5", "dataset.tasks=2", "batch_size=300",
    )  # fmt: skip
    assert results["average_accuracy"] is not None
    state = final_state(tmp_path / "run")["strategy"]
    assert state["network.body.layers.1.weight"].shape == (5, 64)


def test_a_body_of_timm() -> None:
    timm = pytest.importorskip("timm")
    with seeded("test"):
        theirs = timm.create_model("resnet18", num_classes=0).eval()
    x = torch.rand(2, 3, 32, 32)
    network = built("model=timm", "model.frozen=true").eval()
    torch.testing.assert_close(network.features(x), theirs(x))
    with pytest.raises(ConfigError, match="no such model"):
        built("model=timm", "model.body=nothing")


def test_weights_of_timm_from_a_file(tmp_path: Path) -> None:
    """All but those for its own classes; a file with others is refused, not read in part."""
    timm = pytest.importorskip("timm")
    for name in ("test_resnet", "test_vit"):
        torch.save(timm.create_model(name, num_classes=7).state_dict(), tmp_path / f"{name}.pt")
    given = ("model=timm", "model.body=test_resnet", "model.weights=")
    network = built(*given[:2], f"{given[2]}{tmp_path / 'test_resnet.pt'}")
    theirs = torch.load(tmp_path / "test_resnet.pt", weights_only=True)
    ours = network.body.layers.state_dict()
    assert theirs.keys() - ours.keys() == {"fc.weight", "fc.bias"}
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
    with pytest.raises(ConfigError, match="does not fit a ResNet"):
        built(*given[:2], f"{given[2]}{tmp_path / 'test_vit.pt'}")


def test_the_narrow_resnet_has_the_published_size() -> None:
    """1.1 million weights for 100 classes of 32 × 32 pictures (Lopez-Paz & Ranzato 2017)."""
    network = built("model=resnet18", "model.width=20", classes=100)
    w = 20
    expected = 27 * w + 2 * w + 100 * (8 * w + 1)
    inputs = w
    for outputs in (w, 2 * w, 4 * w, 8 * w):
        shortcut = 0 if inputs == outputs else inputs * outputs + 2 * outputs
        expected += 9 * inputs * outputs + 3 * 9 * outputs**2 + 4 * 2 * outputs + shortcut
        inputs = outputs
    found = sum(p.numel() for p in network.parameters())
    assert found == expected == 1_109_240
    assert network.features(torch.rand(2, 3, 32, 32)).shape == (2, 160)


def cosine(tasks: int) -> Network:
    torch.manual_seed(3)
    layers = nn.Sequential(nn.Flatten(), nn.Linear(16, 8))
    network = by_twos(Network(layers, (1, 4, 4), 8, 6, init="default", new_rows="default",
                              classifier="cosine"))  # fmt: skip
    for task in tiny_stream().tasks[:tasks]:
        network.grow(task)
    return network


def test_the_cosine_classifier_measures_angles() -> None:
    network, x = cosine(2), torch.randn(3, 1, 4, 4)
    with torch.no_grad():
        network.classifier.scale.fill_(2.5)
    logits, f = network(x), network.features(x)
    for b in range(3):
        for c in range(6):
            w = network.classifier.weight[c]
            dot = sum((f[b, d] * w[d]).item() for d in range(8))
            length = math.sqrt(sum(v.item() ** 2 for v in f[b])) * math.sqrt(
                sum(v.item() ** 2 for v in w)
            )
            expected = 2.5 * dot / length if c < 4 else -math.inf
            assert logits[b, c].item() == pytest.approx(expected, rel=1e-5)
    assert not any("biases" in name for name, _ in network.named_parameters())


def test_rows_that_rest_get_no_update_under_cosine_either() -> None:
    """Task-incremental: the step of task 2 reaches neither task 1's rows nor task 3's."""
    stream, network = tiny_stream("task_incremental"), cosine(2)
    batch = first_batch(stream, 1)
    batch.task.likelihood.loss(network(batch.x), batch.y, batch.task.competing).backward()
    network.classifier.leave_alone_what_rests(all_compete=False)
    assert [w.grad is not None for w in network.classifier.weights] == [False, True, False]
    assert network.classifier.scale.grad != 0
    assert network.by_age(list(network.parameters()))[0][-1] is not network.classifier.weights[0]


def test_a_cosine_classifier_learns_its_scale(tmp_path: Path) -> None:
    results = run_here(tmp_path / "run", "model.classifier=cosine", "dataset.tasks=2", "epochs=2",
                       "model.widths=[8]", "strategy=ewc", "batch_size=64")  # fmt: skip
    assert results["conventions"]["model.classifier"] == "cosine"
    assert final_state(tmp_path / "run")["strategy"]["network.classifier.scale"] > 1.01
    assert GrowingClassifier(2, 3).scale is None
