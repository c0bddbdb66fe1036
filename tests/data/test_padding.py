"""Pictures with zeros on each side: as if the data set had them, in every way of cutting it."""

from __future__ import annotations

import pytest
import torch
from running import run_here
from torch import Tensor
from torchvision.transforms.functional import convert_image_dtype, normalize, pad, rotate

from cl_runner import machine
from cl_runner.data.arrays import OutOfCore, padded
from cl_runner.data.batches import batches
from cl_runner.data.cuts import ByClass, ByPermutation, BySource
from cl_runner.data.rotation import ByRotation
from cl_runner.data.samples import Pixels
from cl_runner.data.source import Split
from cl_runner.data.stream import Stream
from cl_runner.errors import ConfigError
from cl_runner.randomness import generator

MEAN, STD = [0.1, 0.2], [0.3, 0.4]


class Noise:
    """Pictures of two colours, 5 × 6, of four classes; out of core, they are in two files."""

    classes, shape = 4, (2, 5, 6)

    def __init__(self, name: str = "noise", *, mapped: bool = False) -> None:
        self.name, self.mapped = name, mapped

    def load(self, root: str) -> tuple[Split, Split]:
        train, test = (Split(self.pictures(n), torch.arange(n) % 4) for n in (40, 20))
        return train, test

    def pictures(self, size: int) -> Tensor | OutOfCore:
        draw = torch.Generator().manual_seed(size + len(self.name))
        images = torch.randint(1, 256, (size, *self.shape), dtype=torch.uint8, generator=draw)
        return OutOfCore([images[:7], images[7:]]) if self.mapped else images


def load(cut: type, *, padding: int = 2, crop_padding: int = 0, **settings: object) -> Stream:
    pixels = Pixels(mean=MEAN, std=STD, padding=padding, crop_padding=crop_padding, flip=False,
                    per_picture=False)  # fmt: skip
    common = {"root": "", "scenario": "domain_incremental", "validation_fraction": 0.0,
              "samples_per_task": None, "blurry": 0.0, "repetition": 0.0}  # fmt: skip
    stream: Stream = cut(pixels=pixels, **common, **settings).load(
        seed=3, scope="seen", device="cpu"
    )
    return stream


def as_torchvision(pictures: Tensor) -> Tensor:
    return normalize(convert_image_dtype(pictures), MEAN, STD)


@pytest.fixture(params=["in memory", "no room to pad", "mapped"])
def mapped(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if request.param != "in memory":
        monkeypatch.setattr(machine, "free_memory", lambda device="cpu": 0)
    return request.param == "mapped"


def test_pictures_are_padded_before_they_are_normalised(mapped: bool) -> None:
    """Tasks by class, and several data sets: what torchvision makes of them, also in batches."""
    by_class = load(ByClass, source=Noise(mapped=mapped), tasks=2, classes_per_task=2,
                    class_order="numeric", class_order_seed=None)  # fmt: skip
    assert by_class.outline.shape == (2, 9, 10)
    for t, task in enumerate(by_class.tasks):
        (whole,) = (Noise().pictures(40),)
        mine = pad(whole[torch.arange(40) % 4 // 2 == t], 2)
        assert torch.equal(task.train.raw, mine)
        torch.testing.assert_close(task.train.x, as_torchvision(mine))
        corner = -torch.tensor(MEAN) / torch.tensor(STD)
        torch.testing.assert_close(task.train.x[:, :, 0, 0], corner.expand(20, -1))
        for batch in batches(task.train, task, epoch=0, batch_size=7):
            assert torch.equal(batch.raw, pad(whole[batch.index], 2))
            torch.testing.assert_close(batch.x, as_torchvision(batch.raw))
    sources = [Noise("a", mapped=mapped), Noise("another", mapped=not mapped)]
    both = load(BySource, sources=sources)
    for test, source in zip(both.test, sources, strict=True):
        assert torch.equal(test.raw, pad(Noise(source.name).pictures(20), 2))


def test_all_pixels_are_permuted_and_turned_with_their_padding(mapped: bool) -> None:
    """As in the codes of Hsu et al. 2018 and van de Ven & Tolias 2019: padded, then permuted."""
    common = {"source": Noise(mapped=mapped), "tasks": 2}
    whole = pad(Noise().pictures(20), 2)
    order = torch.randperm(9 * 10, generator=generator(3, 1, "permutation"))
    plain, moved = load(ByPermutation, permute_first=False, **common).test
    assert torch.equal(plain.raw, whole)
    assert torch.equal(moved.raw.flatten(2), whole.flatten(2)[:, :, order])
    turned = load(
        ByRotation, angles=[0, 40], rotate_first=False, interpolation="nearest", **common
    ).test[1]
    assert torch.equal(turned.raw, rotate(whole, 40))
    assert turned.raw.count_nonzero() > rotate(Noise().pictures(20), 40).count_nonzero()


def test_a_crop_gives_a_padded_picture_back_its_size() -> None:
    common = {"source": Noise(), "tasks": 1, "permute_first": False}
    stream = load(ByPermutation, crop_padding=8, **common)
    task = stream.tasks[0]
    batch = next(batches(task.train, task, epoch=0, batch_size=9))
    assert batch.x.shape == (9, 2, 9, 10)
    with pytest.raises(ConfigError, match=r"crop_padding=9.*height and width .*, \[9, 10\]"):
        load(ByPermutation, crop_padding=9, **common)
    with pytest.raises(ConfigError, match=r"pixels.padding=5.*height and width .*, \[5, 6\]"):
        load(ByPermutation, padding=5, **common)


def test_padded_rows_are_those_of_one_padded_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [Noise().pictures(n) for n in (4, 9)]
    whole = pad(torch.cat(parts), 3)
    rows = padded(OutOfCore(parts), 3)
    assert isinstance(rows, OutOfCore) and rows.shape == whole.shape
    assert rows.nbytes == whole.nbytes and torch.equal(rows.to("cpu"), whole)
    for some in ([], [12, 0, 0, 4]):
        index = torch.tensor(some, dtype=torch.int64)
        assert torch.equal(rows.index_select(0, index), whole[index])
    # The padded tensor has to fit, not the one before.
    room = {"cpu": 2 * pad(parts[0], 3).nbytes}
    monkeypatch.setattr(machine, "free_memory", lambda device="cpu": room[device])
    assert isinstance(padded(parts[0], 3), Tensor)
    room["cpu"] -= 1
    assert isinstance(padded(parts[0], 3), OutOfCore)


def test_stored_samples_are_not_padded_again(tmp_path) -> None:
    """A replayed picture has the shape that the network takes; a memory holds it padded."""
    results = run_here(tmp_path / "run", "dataset.pixels.padding=2", "strategy=rehearsal",
                       "strategy.buffer_size=20", "strategy.policy=herding", "epochs=1",
                       "batch_size=400", "model.widths=[8]", "dataset.tasks=2")  # fmt: skip
    assert results["cost"]["state_bytes"]["memory"] >= 20 * 12 * 12
