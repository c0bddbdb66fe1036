"""Training samples drawn for each task, as GEM (Lopez-Paz & Ranzato 2017) and GSS (Aljundi et al.
2019) have 1000 of them."""

from __future__ import annotations

import pytest
import torch
from running import composed, final_state, logged, run_here
from test_stream import Numbered, by_class
from test_views import SIDES, bytes_of, permuted

from cl_runner.data.cuts import ByClass, BySource
from cl_runner.data.stream import Stream
from cl_runner.errors import ConfigError, DataError


def load(cut: object, seed: int = 0) -> Stream:
    return cut.load(seed=seed, scope="seen", device="cpu")


def rows(stream: Stream) -> list[list[int]]:
    return [task.train.index.tolist() for task in stream.tasks]


@pytest.mark.parametrize("fraction", [0.0, 0.34])
def test_so_many_of_each_task_and_nothing_else_changes(fraction: float) -> None:
    whole = load(by_class(validation_fraction=fraction))
    some = load(by_class(validation_fraction=fraction, samples_per_task=17))
    assert all(map(torch.equal, (t.index for t in some.test), (t.index for t in whole.test)))
    for task, full in zip(some.tasks, whole.tasks, strict=True):
        drawn = task.train.index.tolist()
        assert len(drawn) == len(set(drawn)) == 17 and drawn == sorted(drawn)
        assert set(drawn) < set(full.train.index.tolist())
        assert torch.equal(task.train.y, task.train.raw[:, 0, 0, 0].long())  # its own label
        assert torch.equal(task.validation.index, full.validation.index)
    every = load(by_class(validation_fraction=fraction, samples_per_task=len(full.train)))
    assert rows(every) == rows(whole)


def test_a_fraction_that_holds_out_nothing_is_measured_by_all_samples() -> None:
    """Not by the few that are drawn: the hint is enough."""
    words = r"holds out no sample of task 1 .*, whose largest class has 30. Hint: .*=0.034"
    with pytest.raises(ConfigError, match=words):
        load(by_class(validation_fraction=0.001, samples_per_task=17, repetition=0.2))
    stream = load(by_class(validation_fraction=0.034, samples_per_task=17, repetition=0.2))
    assert all(len(task.validation) > 0 for task in stream.tasks)


def test_each_sample_is_drawn_as_often_and_by_seed_and_task() -> None:
    """Of the 60 of each task 15: over 400 seeds each is drawn 100 times, but for chance."""
    cut = by_class(samples_per_task=15)
    drawn = [rows(load(cut, seed)) for seed in range(400)]
    assert drawn[3] == rows(load(cut, 3)) != drawn[4]
    for task in range(3):
        times = torch.bincount(torch.tensor([seed[task] for seed in drawn]).flatten())
        times = times[load(by_class()).tasks[task].train.index].double()
        # Chi-square with 59 degrees of freedom, of draws without replacement.
        assert ((times - 100) ** 2 / (400 * 0.25 * 0.75)).sum() * 59 / 60 < 98.3
    places = [[sorted(i // 6 * 2 + i % 2 for i in task) for task in seed] for seed in drawn[:5]]
    assert all(a != b for a, b, _ in places)  # not the same samples in every task


def test_tasks_that_see_the_same_pictures_draw_their_own() -> None:
    """No picture is copied: a task holds the numbers of its samples, 8 bytes each."""
    common = {"samples_per_task": 30, "validation_fraction": 0.0}
    stream = load(permuted("domain_incremental", tasks=4, **common))
    numbers = [[i - 90 * t for i in task] for t, task in enumerate(rows(stream))]
    assert all(len(set(task)) == 30 and set(task) <= set(range(90)) for task in numbers)
    assert len({tuple(task) for task in numbers}) == 4
    whole = permuted("domain_incremental", tasks=4, validation_fraction=0.0)
    for task, full in zip(stream.tasks, load(whole).tasks, strict=True):
        picked = task.train.index - full.train.index[0]
        assert torch.equal(task.train.raw, full.train.raw[picked])
    one, four = (load(permuted("domain_incremental", tasks=n, **common)) for n in (1, 4))
    assert bytes_of(four) - bytes_of(one) <= 3 * 8 * (SIDES**2 + 2 + 30)


def test_several_data_sets_have_as_many_each() -> None:
    plain = by_class()
    cut = BySource(sources=[Numbered(), Numbered(per_class=20, name="other")], root="",
                   scenario="domain_incremental", samples_per_task=50, validation_fraction=0.0,
                   blurry=0.0, repetition=0.0, pixels=plain.pixels)  # fmt: skip
    stream = load(cut)
    assert [len(task.train) for task in stream.tasks] == [50, 50]
    assert max(rows(stream)[0]) < 180 <= min(rows(stream)[1])


def test_what_cannot_be_drawn_is_a_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    uneven: ByClass = by_class(classes_per_task=[3, 1, 2])
    assert [len(task.train) for task in load(uneven).tasks] == [90, 30, 60]
    uneven.samples_per_task = 31
    words = r"=31: is too many: task 2 \(class 3\) has 30 training samples.*samples_per_task=30"
    with pytest.raises(ConfigError, match=words):
        load(uneven)
    few = by_class(samples_per_task=1)
    words = r"=1: is too few: no sample of class [01] of task 1 \(classes 0, 1\) is drawn"
    with pytest.raises(ConfigError, match=words):
        load(few)
    # A class that the data lacks is the data's fault.
    source = Numbered()
    train, test = source.load("")
    less = type(train)(train.images[train.labels != 3], train.labels[train.labels != 3])
    monkeypatch.setattr(source, "load", lambda root: (less, test))
    with pytest.raises(DataError, match=r"task 2 .* has no training sample of class 3"):
        load(by_class(source=source, samples_per_task=5))


def test_a_run_trains_on_no_more(tmp_path) -> None:
    """Steps of each task, and of joint training on the union; what is stored is among them."""
    words = ("dataset.samples_per_task=40", "dataset.tasks=3", "epochs=1", "batch_size=16",
             "model.widths=[8]")  # fmt: skip
    run_here(tmp_path / "a", *words, "strategy=rehearsal", "strategy.buffer_size=30")
    assert logged(tmp_path / "a")[-1]["step"] == 3 * 3
    stored = final_state(tmp_path / "a")["strategy"]["memory.index"].tolist()
    run_here(tmp_path / "b", *words, "strategy=joint")
    assert logged(tmp_path / "b")[-1]["step"] == 3 + 5 + 8
    stream = composed(*words).dataset.load(seed=0, scope="seen", device="cpu")
    assert len(set(stored)) == 30 and set(stored) <= set().union(*map(set, rows(stream)))
