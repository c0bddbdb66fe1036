"""Data that does not fit in memory: mapped, read a batch ahead, and the same bits."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from running import final_state, run_here
from test_data import idx, put, small  # noqa: F401 (a fixture)
from test_pictures import signs  # noqa: F401 (a fixture)

from cl_runner import machine
from cl_runner.data import arrays, gtsrb, mnist
from cl_runner.data.arrays import OutOfCore, ahead, joined, on, stored


@pytest.fixture
def no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """No data fits in memory."""
    monkeypatch.setattr(machine, "free_memory", lambda device="cpu": 0)


def some(*sizes: int) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (n, 2, 3), dtype=torch.uint8, generator=draw) for n in sizes]


@pytest.mark.parametrize("sizes", [(9,), (4, 1, 7), (1, 1), (5, 3, 2, 6)])
def test_rows_are_those_of_one_tensor(sizes: tuple[int, ...]) -> None:
    parts = some(*sizes)
    whole, rows = torch.cat(parts), OutOfCore(parts)
    assert len(rows) == len(whole) and rows.shape == whole.shape and rows.dtype == whole.dtype
    assert rows.nbytes == whole.nbytes and torch.equal(rows.to("cpu"), whole)
    draw = torch.Generator().manual_seed(1)
    for count in (0, 1, 30):
        index = torch.randint(0, len(whole), (count,), generator=draw)
        assert torch.equal(rows.index_select(0, index), whole[index])


def test_data_is_joined_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copied together only where both fit; what is out of core stays there."""
    a, b, c = some(2, 3, 4)
    assert joined([a]) is a
    assert isinstance(joined([a, b]), torch.Tensor)
    both = joined([OutOfCore([a, b]), c])
    assert [part.data_ptr() for part in both.parts] == [t.data_ptr() for t in (a, b, c)]
    monkeypatch.setattr(machine, "free_memory", lambda device="cpu": 2 * (a.nbytes + b.nbytes) - 1)
    assert isinstance(joined([a, b]), OutOfCore)
    monkeypatch.setattr(machine, "free_memory", lambda device="cpu": 2 * (a.nbytes + b.nbytes))
    assert torch.equal(joined([a, b]), torch.cat([a, b]))


def test_what_a_device_has_no_memory_for_stays_with_the_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Torch's own device, of shapes alone, stands for one with a memory of its own."""
    (pictures,) = some(5)
    free = {"cpu": 0, "meta": 2 * pictures.nbytes}
    monkeypatch.setattr(machine, "free_memory", lambda device="cpu": free[device])
    assert on(pictures, "cpu") is pictures
    assert on(pictures, "meta").device.type == "meta"
    assert on(OutOfCore([pictures]), "meta").device.type == "meta"
    free["meta"] -= 1
    for left in (on(pictures, "meta"), on(OutOfCore([pictures]), "meta")):
        assert isinstance(left, OutOfCore) and left.parts[0] is pictures


def test_free_memory_is_part_of_what_there_is() -> None:
    assert 0 < machine.free_memory() <= machine.memory()


def test_a_file_is_mapped_and_never_written(tmp_path: Path, no_room: None) -> None:
    file = tmp_path / "rows"
    content = bytes(range(100))
    file.write_bytes(content)
    rows = stored(file, (8, 3, 4), offset=4)
    assert isinstance(rows, OutOfCore) and str(file) in Path("/proc/self/maps").read_text()
    expected = torch.from_numpy(np.arange(4, 100, dtype=np.uint8)).view(8, 3, 4)
    assert torch.equal(rows.index_select(0, torch.tensor([7, 0])), expected[[7, 0]])
    rows.parts[0].zero_()
    assert file.read_bytes() == content


def test_the_four_files_of_mnist_are_the_same_mapped(
    small: mnist.FourFiles,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(tmp_path)
    loaded = small.load(str(tmp_path))
    monkeypatch.setattr(machine, "free_memory", lambda device="cpu": 0)
    for one, other in zip(loaded, small.load(str(tmp_path)), strict=True):
        assert isinstance(other.images, OutOfCore)
        assert torch.equal(one.images, other.images.to("cpu"))
        assert torch.equal(one.labels, other.labels)


def test_decoded_pictures_are_the_same_mapped(
    signs: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whichever of the two decoded them."""
    loaded = gtsrb.GTSRB().load(str(signs))
    monkeypatch.setattr(machine, "free_memory", lambda device="cpu": 0)
    mapped = gtsrb.GTSRB().load(str(signs))
    monkeypatch.setenv("XDG_CACHE_HOME", str(signs / "another cache"))
    decoded = gtsrb.GTSRB().load(str(signs))
    for one, *others in zip(loaded, mapped, decoded, strict=True):
        for other in others:
            assert isinstance(other.images, OutOfCore)
            assert torch.equal(one.images, other.images.to("cpu"))


def test_one_item_is_made_ahead_of_its_use() -> None:
    made: list[int] = []

    def square(n: int) -> int:
        assert threading.current_thread() is not threading.main_thread()
        made.append(n)
        return n * n

    results = ahead(square, range(6))
    assert not made  # nothing is made before the first is asked for
    for n, result in enumerate(results):
        assert result == n * n
        assert made in ([*range(n + 1)], [*range(min(n + 2, 6))])
    assert list(ahead(square, [])) == []


def test_what_goes_wrong_in_the_thread_is_raised_at_its_item() -> None:
    results = ahead(lambda n: 6 // n, [3, 2, 0, 1])
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_a_thread_ends_with_the_loop_that_it_works_for() -> None:
    before = threading.active_count()
    results = ahead(lambda n: n, range(1000))
    next(results)
    results.close()
    assert threading.active_count() == before


@pytest.fixture
def two_data_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """MNIST and Fashion-MNIST in small, with pictures of noise around a brightness per class."""
    draw = np.random.default_rng(0)
    for name in ("MNIST", "FashionMNIST"):
        folder = tmp_path / name / "raw"
        folder.mkdir(parents=True)
        for part, size in (("train", 300), ("t10k", 60)):
            labels = (np.arange(size) % 10).astype(np.uint8)
            noise = draw.integers(0, 40, (size, 28, 28))
            images = (20 * labels[:, None, None] + noise).astype(np.uint8)
            for values, kind in ((images, "images-idx3"), (labels, "labels-idx1")):
                head = idx(*values.shape)[: 4 + 4 * values.ndim]
                (folder / f"{part}-{kind}-ubyte").write_bytes(head + values.tobytes())
    monkeypatch.setattr(mnist.FourFiles, "check", lambda source, root: None)
    return str(tmp_path)


RUNS = {
    "two data sets, joint, augmented": (
        "dataset=mnist_to_fashion", "strategy=joint", "dataset.pixels.crop_padding=2",
        "dataset.pixels.flip=true", "dataset.pixels.padding=2"),
    "by class, rehearsal, validation": (
        "dataset=split_mnist", "strategy=rehearsal", "dataset.validation_fraction=0.2"),
    "permutations, EWC": ("dataset=permuted_mnist", "dataset.tasks=3", "strategy=ewc"),
    "rotations, herding": (
        "dataset=rotated_mnist", "dataset.tasks=3", "dataset.interpolation=bilinear",
        "strategy=rehearsal_kd", "strategy.policy=herding", "strategy.buffer_size=20",
        "dataset.pixels.padding=1"),
}  # fmt: skip


@pytest.mark.parametrize("words", RUNS.values(), ids=RUNS)
def test_a_whole_run_is_the_same_mapped(
    words: tuple[str, ...], two_data_sets: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Metrics and predictions byte for byte, weights bit for bit."""
    used: list[int] = []
    select = OutOfCore.index_select
    monkeypatch.setattr(
        OutOfCore, "index_select", lambda self, *a: used.append(1) or select(self, *a)
    )
    folders = [tmp_path / "in memory", tmp_path / "mapped"]
    for folder in folders:
        if folder.name == "mapped":
            assert not used
            monkeypatch.setattr(machine, "free_memory", lambda device="cpu": 0)
        run_here(folder, *words, f"dataset.root={two_data_sets}", "epochs=2", "batch_size=32",
                 "model.widths=[8]", "log_every=3")  # fmt: skip
    assert used
    for file in ("metrics.jsonl", "predictions.npz"):
        assert len({(folder / file).read_bytes() for folder in folders}) == 1, file
    one, other = (final_state(folder)["strategy"] for folder in folders)
    assert one.keys() == other.keys()
    for name, value in one.items():
        same = torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else True
        assert same and (isinstance(value, torch.Tensor) or value == other[name]), name


def test_data_may_take_half_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "free_memory", lambda device="cpu": 100)
    assert arrays.fits(50) and not arrays.fits(51)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux says what is mapped")
def test_rows_that_were_read_do_not_stay_mapped(tmp_path: Path, no_room: None) -> None:
    """The process would seem to hold the whole file."""
    file = tmp_path / "rows"
    with file.open("wb") as content:
        content.truncate(64 * 2**20)
    rows = stored(file, (2**14, 2**12))
    assert isinstance(rows, OutOfCore)

    def resident() -> int:
        """KiB of the file."""
        lines = Path("/proc/self/smaps").read_text().splitlines()
        at = next(n for n, line in enumerate(lines) if line.endswith(str(file)))
        return next(int(line.split()[1]) for line in lines[at:] if line.startswith("Rss:"))

    rows.parts[0].sum()
    assert resident() > 60_000
    for part in torch.randperm(2**14).split(500):
        rows.index_select(0, part)
    assert resident() < 1000
    joined_rows = joined([rows, rows])
    rows.parts[0].sum()
    joined_rows.index_select(0, torch.tensor([0, 2**14 + 1]))
    assert resident() < 1000
