"""`model.classifier=nearest_mean`, against means and distances by hand."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from running import composed, final_state, logged, run_here, trained
from stopping import stopped_and_continued
from tiny import tiny_network, tiny_stream

import cl_runner
from cl_runner.config.paths import CONF
from cl_runner.data.digits import Digits
from cl_runner.data.samples import Samples
from cl_runner.data.stream import Stream, Task
from cl_runner.errors import ConfigError
from cl_runner.models.nearest_mean import distances_to
from cl_runner.models.network import Network
from cl_runner.run_folder import read
from cl_runner.strategies.finetune import Finetune
from cl_runner.strategies.parts.memory import Memory
from cl_runner.strategies.strategy import Strategy
from cl_runner.training import class_means, loop
from cl_runner.training.run import build_strategy

MEANS = "model.classifier=nearest_mean"
TRAINED = (
    "threads=1",
    "dataset.tasks=2",
    "batch_size=30",
    "dataset.samples_per_task=60",
    "epochs=2",
)
SMALL = (*TRAINED, "model.widths=[8]", "model.batch_norm=true", "model.activation=tanh")
REPLAY = ("strategy=rehearsal", "strategy.buffer_size=12", "strategy.replay_batch_size=6")
OWN_SCORES = {"icarl", "bic", "separate", "ncm", "slda", "ranpac", "generative_classifier"}


class Noting:
    """Measures as it should, and notes the network and the parts of its means after each task."""

    measure: ClassVar[Any] = staticmethod(class_means.measure)
    networks: ClassVar[list[Network]] = []

    def __call__(self, strategy: Strategy, stream: Stream, task: Task) -> None:
        self.measure(strategy, stream, task)
        self.networks.append(copy.deepcopy(strategy.network).eval())


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> list[Network]:
    """Filled by runs: the network after each task."""
    monkeypatch.setattr(Noting, "networks", [])
    monkeypatch.setattr(loop.class_means, "measure", Noting())
    return Noting.networks


def stream_of(*words: str) -> Stream:
    settings = composed(*words)
    return settings.dataset.load(seed=settings.seed, scope=settings.ce_scope, device="cpu")


def unit(vector: list[float]) -> list[float]:
    length = sum(v * v for v in vector) ** 0.5
    return [v / length for v in vector]


def features(network: Network, samples: Samples) -> list[list[float]]:
    """Of length one, each by itself."""
    found = (network.features(samples[n : n + 1].x)[0].tolist() for n in range(len(samples)))
    with torch.no_grad():
        return [unit(f) for f in found]


def means_of(network: Network, samples: Samples) -> dict[int, list[float]]:
    """The mean of each class that has samples, of length one."""
    rows: dict[int, list[list[float]]] = {}
    for f, y in zip(features(network, samples), samples.y.tolist(), strict=True):
        rows.setdefault(y, []).append(f)
    return {y: unit([sum(column) for column in zip(*own, strict=True)]) for y, own in rows.items()}


def nearest(network: Network, samples: Samples, means: dict[int, list[float]]) -> list[int]:
    def distance(a: list[float], b: list[float]) -> float:
        return sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) ** 0.5

    return [min(means, key=lambda c: distance(f, means[c])) for f in features(network, samples)]


def predicted(folder: Path, after: int, on: int) -> list[int]:
    found: list[int] = read.predictions(folder)[f"after_task_{after}_on_task_{on}"].tolist()
    return found


def test_with_a_memory_the_means_are_of_what_is_stored(tmp_path: Path) -> None:
    words = (*SMALL, *REPLAY, MEANS)
    run_here(tmp_path / "run", *words)
    strategy, stream = trained(tmp_path / "run", *words), stream_of(*words)
    stored = strategy.memory.samples(stream.tasks[0].train.pixels)
    means = means_of(strategy.network, stored)
    assert sorted(means) == [0, 1, 2, 3] and len(stored) == 12
    for task, test in enumerate(stream.test, start=1):
        assert predicted(tmp_path / "run", 2, task) == nearest(strategy.network, test, means)
    logits = strategy.network(stream.test[0].x)[:, :4].argmax(1).tolist()
    assert logits != predicted(tmp_path / "run", 2, 1)  # the outputs would say something else


@pytest.mark.parametrize("stream", ["separate tasks", "blurry tasks"])
def test_without_a_memory_means_stay_until_their_class_comes_again(
    stream: str, tmp_path: Path, networks: list[Network]
) -> None:
    blurry = stream == "blurry tasks"
    words = (*SMALL, MEANS, *(["dataset.blurry=0.2", "ce_scope=all"] * blurry))
    run_here(tmp_path / "run", *words)
    tasks, test = stream_of(*words).tasks, stream_of(*words).test
    means = [means_of(net, t.train) for net, t in zip(networks, tasks, strict=True)]
    assert sorted(means[1]) == ([0, 1, 2, 3] if blurry else [2, 3])
    first = {c: mean for c, mean in means[0].items() if c < 2}
    assert predicted(tmp_path / "run", 1, 1) == nearest(networks[0], test[0], first)
    for task in (1, 2):
        expected = nearest(networks[1], test[task - 1], means[0] | means[1])
        assert predicted(tmp_path / "run", 2, task) == expected


def test_joint_training_has_means_of_all_its_samples(
    tmp_path: Path, networks: list[Network]
) -> None:
    words = (*SMALL, MEANS, "strategy=joint", "strategy.start=scratch")
    run_here(tmp_path / "run", *words)
    (one, two), test = stream_of(*words).tasks, stream_of(*words).test
    means = means_of(networks[1], one.train + two.train)
    for task in (1, 2):
        expected = nearest(networks[1], test[task - 1], means)
        assert predicted(tmp_path / "run", 2, task) == expected


class TwoMemories(Finetune):
    """One for some samples of class 0, the other for some of class 1; none of other classes."""

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self.memories = torch.nn.ModuleList(Memory(10, network, "reservoir") for _ in range(2))

    def end_task(self, task: Task) -> None:
        for kind, memory in enumerate(self.memories if task.first else ()):
            rows = torch.nonzero(task.train.y == kind).flatten()[:4]
            memory.learn(replace(task, train=task.train[rows]), self.network)


def test_each_memory_counts_and_what_none_holds_is_taken_from_the_task() -> None:
    """By construction: any module of the class Memory, in a strategy of one's own."""
    stream, strategy = tiny_stream(), TwoMemories(tiny_network(classifier="nearest_mean"))
    network = strategy.network.eval()
    for task in stream.tasks[:2]:
        network.grow(task)
        strategy.end_task(task)
        class_means.measure(strategy, stream, task)
    expected = means_of(network, stream.tasks[1].train)
    for memory in strategy.memories:
        expected |= means_of(network, memory.samples(stream.tasks[0].train.pixels))
    assert sorted(expected) == [0, 1, 2, 3]
    means = network.nearest_mean
    assert means.known.tolist() == [True] * 4 + [False] * 2
    for c, mean in expected.items():
        assert means.means[c].tolist() == pytest.approx(mean, abs=1e-6)
    scores = network.scores(stream.test[2].x)
    assert torch.equal(scores[:, 4:], torch.full_like(scores[:, 4:], torch.finfo().min))
    assert scores.isfinite().all() and scores[:, :4].max() <= 0 and scores[:, :4].min() >= -2


@pytest.mark.parametrize(
    "words",
    [
        REPLAY,
        (*REPLAY, "strategy.fill=step", "strategy.policy=reservoir", "evaluate_every=2"),
        ("strategy=gdumb", "strategy.buffer_size=20"),
        ("strategy=lwf", "early_stopping=1", "epochs=4", "dataset.validation_fraction=0.2",
         "diagnose=probe"),
    ],
    ids=lambda words: " ".join(words),
)  # fmt: skip
def test_the_network_is_trained_as_with_a_linear_classifier(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the same bits, and while a task is learned it is the outputs that are measured."""
    monkeypatch.chdir(tmp_path)
    folders = [tmp_path / kind for kind in ("linear", "nearest_mean")]
    for folder in folders:
        run_here(folder, *SMALL, *words, f"model.classifier={folder.name}")
    linear, means = (final_state(folder) for folder in folders)
    extra = {k for k in means["strategy"].keys() - linear["strategy"].keys()}
    assert {k.rpartition("network.")[2].partition(".")[0] for k in extra} == {"nearest_mean"}
    for key, value in linear["strategy"].items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, means["strategy"][key]), key
    assert str(linear["optimizer"]) == str(means["optimizer"])
    within = [[line for line in logged(folder) if line["event"] != "evaluation"]
              for folder in folders]  # fmt: skip
    assert within[0] == within[1] and within[0]


def test_before_a_task_is_learned_the_means_decide(tmp_path: Path) -> None:
    """The network is still as it was when they were measured."""
    words = (*SMALL, *REPLAY, "dataset.scenario=domain_incremental")
    found = [run_here(tmp_path / kind, *words, f"model.classifier={kind}")
             for kind in ("linear", "nearest_mean")]  # fmt: skip
    untrained, before = ([results[f"accuracy_{key}"] for results in found]
                         for key in ("untrained", "before_learning"))  # fmt: skip
    assert untrained[0] == untrained[1] and before[0] != before[1]


def test_continued_within_a_task_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    """Means of fine-tuning's old classes are state: nothing else could give them again."""
    words = (*SMALL, MEANS, "strategy=finetune", "evaluate_every=epoch")
    run_here(tmp_path / "whole", *words)
    stopped_and_continued(tmp_path / "torn", *words, at=6)  # in the second task
    whole, torn = (final_state(tmp_path / name)["strategy"] for name in ("whole", "torn"))
    assert {k for k in whole if "nearest_mean" in k} and whole.keys() == torn.keys()
    assert all(torch.equal(v, torn[k]) for k, v in whole.items() if isinstance(v, torch.Tensor))
    for file in ("metrics.jsonl", "predictions.npz"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "torn" / file).read_bytes()


def test_a_frozen_body_and_the_network_that_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its means are of the features that are computed once; a picture has the same class."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run = cl_runner.run(
        "model=torchvision", "model.body=shufflenet_v2_x0_5", "model.frozen=true", MEANS, *REPLAY,
        *TRAINED, "dataset.class_order=[3,1,2,0,4,5,6,7,8,9]",
        f"output_root={tmp_path}", "name=run",
    )  # fmt: skip
    assert cl_runner.load_network(run.folder).network.skips_body
    _, test = Digits().load("")
    own = [test.labels == label for label in (3, 1)]
    pictures, labels = (torch.cat([x[mine] for mine in own]) for x in (test.images, test.labels))
    assert run.evaluate(pictures, labels).accuracy == pytest.approx(run.results.matrix[-1][0])


@pytest.mark.parametrize("name", sorted(file.stem for file in (CONF / "strategy").glob("*.yaml")))
def test_who_scores_in_its_own_way_refuses_it(name: str) -> None:
    words = (f"strategy={name}", MEANS, *(["strategy.buffer_size=200"] * (name == "bic")))
    if name not in OWN_SCORES | {"wa"}:
        assert build_strategy(composed(*words)).network.nearest_mean is not None
        return
    with pytest.raises(ConfigError) as raised:
        build_strategy(composed(*words))
    said = str(raised.value)
    assert said.endswith(". Hint: model.classifier=linear") and "\n" not in said
    assert ("which scores samples in its own way" in said) == (name in OWN_SCORES)


def test_regression_has_no_class_means() -> None:
    with pytest.raises(ConfigError, match=r"nearest_mean: needs classes, and .*classifier=linear"):
        build_strategy(composed("experiment=regression", MEANS))


def test_scores_do_not_depend_on_how_many_samples_there_are() -> None:
    """Not even where means nearly coincide, as early in training."""
    torch.manual_seed(0)
    direction = torch.randn(64)
    near = [direction + 1e-4 * torch.randn(rows, 64) for rows in (100, 10)]
    features, means = (torch.nn.functional.normalize(rows, dim=1) for rows in near)
    together = distances_to(means, features)
    alone = torch.cat([distances_to(means, row[None]) for row in features])
    assert torch.equal(together, alone)
