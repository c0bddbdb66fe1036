"""A benchmark of Avalanche as a stream: the samples of its experiences, and nothing else is called.

A stand-in takes the place of its module, so that most of this needs no Avalanche.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import own_data
import pytest
import torch
from PIL import Image
from running import composed

import cl_runner
from cl_runner.data import avalanche_experiences as experiences
from cl_runner.data.avalanche import FromAvalanche
from cl_runner.data.samples import Pixels
from cl_runner.data.stream import Stream
from cl_runner.errors import ConfigError, DataError

CLASSES = [[3, 1], [0, 2]]
TINY = ("epochs=1", "batch_size=4", "model.widths=[4]")


def made(classes: list[list[int]], sample: Callable[[int], Any], ids: bool = False) -> Any:
    """A benchmark with two samples of each class in each experience."""

    def stream(first: int) -> list[Any]:
        return [
            SimpleNamespace(
                dataset=[(sample(first + 10 * n + c), c, t * ids) for c in mine for n in range(2)],
                classes_in_this_experience=mine,
                task_label=t * ids,
            )
            for t, mine in enumerate(classes)
        ]

    return SimpleNamespace(train_stream=stream(0), test_stream=stream(100))


def picture(number: int) -> Image.Image:
    return Image.fromarray(np.full((4, 5), number, np.uint8))


def SplitPictures(
    n_experiences: int, *, return_task_id: bool = False, seed: int | None = None,
    train_transform: Any = "theirs", eval_transform: Any = "theirs",
    dataset_root: str | None = None,
) -> Any:  # fmt: skip
    assert train_transform is None and eval_transform is None and dataset_root == "folder"
    assert n_experiences == 5 and seed == 7
    torch.rand(9)  # which changes nothing of the run
    return made(CLASSES, picture)


def Whole(return_task_id: bool = False) -> Any:
    """Floats from 0 to 1, as of ToTensor, and the same classes in each task."""
    whole = lambda n: torch.full((1, 2, 2), n, dtype=torch.uint8).float() / 255  # noqa: E731
    return made([[0, 1], [0, 1]], whole, return_task_id)


def Features() -> Any:
    return made([[0, 1], [2, 3]], lambda n: torch.full((6,), float(n)))


def Overlapping() -> Any:
    return made([[0, 1], [1, 2]], picture, True)


def Normalised() -> Any:
    return made(CLASSES, lambda n: torch.full((1, 2, 2), n / 7 - 1))


def Negative() -> Any:
    return made(CLASSES, lambda n: torch.full((1, 2, 2), -1 / 255))


def helper() -> Any:
    raise AssertionError("is no benchmark")


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its module, with the functions above."""
    ours = (SplitPictures, Whole, Features, Overlapping, Normalised, Negative, helper)
    for function in ours:
        monkeypatch.setattr(function, "__module__", "avalanche.benchmarks.classic.ours")
    module = SimpleNamespace(**{f.__name__: f for f in ours}, Path=Path, OsSystem=os.system)
    monkeypatch.setattr(experiences, "_classic", lambda: module)
    experiences.built.cache_clear()


def cut(benchmark: str, scenario: str = "class_incremental", **changed: Any) -> FromAvalanche:
    pixels = Pixels(mean=[0.0], std=[1.0], padding=0, crop_padding=0, flip=False, per_picture=False)
    settings = {"arguments": None, "root": "folder", "samples_per_task": None, "blurry": 0.0,
                "repetition": 0.0, "validation_fraction": 0.0, "pixels": pixels}  # fmt: skip
    return FromAvalanche(benchmark=benchmark, scenario=scenario, **settings | changed)


def load(cut: FromAvalanche, seed: int = 7) -> Stream:
    return cut.load(seed=seed, scope="seen", device="cpu")


@pytest.mark.usefixtures("stand_in")
def test_each_task_has_the_samples_of_an_experience() -> None:
    before = torch.get_rng_state()
    stream = load(cut("SplitPictures"))
    assert torch.equal(torch.get_rng_state(), before)
    assert [task.labels for task in stream.tasks] == [[1, 3], [0, 2]]
    assert [task.name for task in stream.tasks] == ["classes 1, 3", "classes 0, 2"]
    for first, side in ((0, [task.train for task in stream.tasks]), (100, stream.test)):
        for samples, classes in zip(side, CLASSES, strict=True):
            found = [
                (int(raw.unique()), int(y)) for raw, y in zip(samples.raw, samples.y, strict=True)
            ]
            number = {label: n for n, label in enumerate([1, 3, 0, 2])}
            assert found == [(first + 10 * n + c, number[c]) for c in classes for n in range(2)]
            assert samples.raw.shape[1:] == (1, 4, 5) and samples.raw.dtype == torch.uint8


@pytest.mark.usefixtures("stand_in")
def test_a_sweep_over_seeds_does_not_keep_the_samples_of_each() -> None:
    made = [cut("Whole", "domain_incremental").outline(seed) for seed in (0, 0, 1, 2, 3)]
    kept = experiences.built.cache_info()
    assert len(made) == 5 and kept.hits == 1 and kept.currsize == 2


@pytest.mark.usefixtures("stand_in")
def test_what_is_stored_is_pictures_or_features() -> None:
    domains = load(cut("Whole", "domain_incremental"))
    assert domains.tasks[1].train.raw[:, 0, 0, 0].tolist() == [0, 10, 1, 11]
    assert [task.classes for task in domains.tasks] == [range(2), range(2)]
    heads = load(cut("Whole", "task_incremental", arguments={"return_task_id": True}))
    assert [task.classes for task in heads.tasks] == [range(2), range(2, 4)]
    features = load(cut("Features"))
    assert features.outline.features and features.tasks[0].train.raw.shape == (4, 1, 1, 6)
    for name in ("Normalised", "Negative"):
        with pytest.raises(DataError, match=f"{name} has samples that are no pictures: float32"):
            load(cut(name))


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(("benchmark", "scenario", "said"), [
    ("Whole", "class_incremental", r"class 0 is in several experiences. Hint: dataset.scen"),
    ("Whole", "task_incremental", r"Hint: .*, or return_task_id: true among the arguments"),
    ("Overlapping", "domain_incremental", r"does not fit Overlapping: class 1 is in several exp"),
    ("helper", "class_incremental", r"benchmark=helper: is no benchmark of avalanche.benchmarks"),
    ("Path", "class_incremental", r"is no benchmark .* known are Features, Negative, Norm"),
    ("OsSystem", "class_incremental", r"benchmark=OsSystem: is no benchmark"),
    ("os.system", "class_incremental", r"benchmark=os.system: is no benchmark"),
])  # fmt: skip
def test_what_does_not_fit_is_one_line(benchmark: str, scenario: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load(cut(benchmark, scenario))


@pytest.mark.usefixtures("stand_in")
def test_without_a_folder_avalanche_is_not_asked() -> None:
    """As when a network is loaded from a run folder, whose paths are not followed."""
    with pytest.raises(ConfigError, match=r"root=null: is needed: .* Hint: root=FOLDER"):
        cut("SplitPictures", root="").outline(0)


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("name", ["dataset_root", "train_transform", "unknown"])
def test_only_arguments_of_the_benchmark_are_passed(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"arguments.{name}=x: is no argument of SplitPictures"):
        cut("SplitPictures", arguments={"n_experiences": 5, name: "x"})


def test_without_avalanche_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiences, "_classic", lambda: None)
    words = r"dataset.benchmark=SplitMNIST: needs Avalanche.* Hint: pip install 'avalanche-lib==0"
    with pytest.raises(ConfigError, match=words):
        composed("dataset=avalanche")


def test_avalanches_own_split_mnist(tmp_path: Path) -> None:
    """Sample by sample, and a run on it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        classic = pytest.importorskip("avalanche.benchmarks.classic")
    root = str(own_data.mnist(tmp_path))
    order = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]
    theirs = classic.SplitMNIST(5, fixed_class_order=order, train_transform=None,
                                eval_transform=None, dataset_root=root)  # fmt: skip
    words = ("dataset=avalanche", f"dataset.root={root}",
             f"dataset.arguments={{n_experiences: 5, fixed_class_order: {order}}}")  # fmt: skip
    stream = load(composed(*words).dataset)
    for task, experience in zip(stream.tasks, theirs.train_stream, strict=True):
        assert task.labels == sorted(order[2 * task.index : 2 * task.index + 2])
        pairs = zip(task.train.raw, task.train.y, experience.dataset, strict=True)
        for raw, y, (sample, label, _) in pairs:
            assert (
                torch.equal(raw / 255, sample) and task.labels[int(y) - task.classes.start] == label
            )
    place = (f"output_root={tmp_path}", "name=run", "threads=1")
    run = cl_runner.run(*words, *TINY, *place)
    assert len(run.results.accuracy) == 5
    network = cl_runner.load_network(run.folder, root=root)
    assert network.outline.labels == [task.labels for task in stream.tasks]
