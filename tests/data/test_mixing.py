"""Blurry boundaries and classes that come back: who shows which training sample."""

from __future__ import annotations

import pytest
import torch
from running import composed
from test_stream import Numbered, by_class
from test_views import permuted

from cl_runner.data.cuts import BySource
from cl_runner.data.functions import Regression
from cl_runner.data.stream import Stream
from cl_runner.errors import ConfigError

KINDS = ["blurry", "repetition"]
INTERVALS = [[-3.0, -2.0], [-1.0, 0.0], [1.0, 2.0]]


def load(cut: object, seed: int = 0) -> Stream:
    return cut.load(seed=seed, scope="all", device="cpu")


def of_sources(**mixing: float) -> BySource:
    sources = [Numbered(), Numbered(per_class=20, name="b"), Numbered(per_class=11, name="c")]
    return BySource(sources=sources, root="", scenario="domain_incremental", samples_per_task=None,
                    validation_fraction=0.0, pixels=by_class().pixels, **mixing)  # fmt: skip


def of_numbers(**mixing: float) -> Regression:
    return Regression(basis="rbf", terms=4, function="one", intervals=INTERVALS, samples=30,
                      noise=0.1, validation_fraction=0.2, **mixing)  # fmt: skip


CUTS = {
    "classes": lambda **m: by_class(validation_fraction=0.2, samples_per_task=37, **m),
    "unequal tasks": lambda **m: by_class(classes_per_task=[1, 3, 2], **m),
    "views": lambda **m: permuted("domain_incremental", tasks=4, **m),
    "sources": of_sources,
    "numbers": of_numbers,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CUTS)
def test_each_sample_is_shown_once_as_its_own_task_shows_it(name: str, kind: str) -> None:
    sharp = load(CUTS[name](**dict.fromkeys(KINDS, 0.0)))
    mixed = load(CUTS[name](**dict.fromkeys(KINDS, 0.0) | {kind: 0.3}))
    assert [ids(t) for t in mixed.test] == [ids(t) for t in sharp.test]
    home = {i: task for task in sharp.tasks for i in ids(task.train)}
    assert sorted(i for task in mixed.tasks for i in ids(task.train)) == sorted(home)
    moved = 0
    for task, plain in zip(mixed.tasks, sharp.tasks, strict=True):
        assert ids(task.validation) == ids(plain.validation)
        assert (task.classes, task.old, task.seen) == (plain.classes, plain.old, plain.seen)
        for place, number in enumerate(ids(task.train)):
            own = home[number]
            at = ids(own.train).index(number)
            assert torch.equal(task.train.raw[place], own.train.raw[at])
            assert task.train.y[place] == own.train.y[at]
            moved += own.index != task.index
            assert kind == "blurry" or own.index <= task.index
        assert int(task.likelihood.kinds(task.train.y).max()) < task.shown
    givers = sharp.tasks if kind == "blurry" else sharp.tasks[:-1]
    assert moved == sum(round(0.3 * len(task.train)) for task in givers)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_task_gives_is_spread_evenly(kind: str) -> None:
    """Over its classes and over the tasks that take it, to within one sample."""
    cut = {"classes_per_task": [2, 1, 3], "source": Numbered(per_class=23)}
    sharp, mixed = load(by_class(**cut)), load(by_class(**cut, **{kind: 0.4}))
    for task in sharp.tasks:
        mine = set(ids(task.train))
        taken = {t.index: mine & set(ids(t.train)) for t in mixed.tasks if t is not task}
        del taken[task.index]
        takers = [t for t in taken if kind == "blurry" or t > task.index]
        assert all(not taken[t] for t in taken if t not in takers)
        if not takers:
            continue
        sizes = [len(taken[t]) for t in takers]
        assert max(sizes) - min(sizes) <= 1 and sum(sizes) == round(0.4 * len(mine))
        label = dict(zip(ids(task.train), task.train.y.tolist(), strict=True))
        for c in task.classes:
            given = [sum(label[i] == c for i in taken[t]) for t in takers]
            assert abs(sum(given) - 0.4 * 23) < 1 and max(given) - min(given) <= 1


def test_it_is_drawn_from_the_seed_and_every_sample_has_its_chance() -> None:
    """Of the 60 of each task 15 leave it: over 200 seeds each leaves 50 times, but for chance."""
    cut, home = by_class(repetition=0.25), [set(ids(t.train)) for t in load(by_class()).tasks]
    shows = [[ids(task.train) for task in load(cut, seed).tasks] for seed in range(200)]
    assert shows[3] == [ids(task.train) for task in load(cut, 3).tasks] != shows[4]
    for task in (0, 1):
        stays = torch.tensor([i for seed in shows for i in seed[task] if i in home[task]])
        times = 200 - torch.bincount(stays, minlength=180)[sorted(home[task])].double()
        # Chi-square with 58 degrees of freedom, of draws from two classes without replacement.
        assert times.sum() == 200 * 15 and ((times - 50) ** 2 / 37.5).sum() < 97


@pytest.mark.parametrize(("words", "said"), [
    (["blurry=0.1"], r"=0.1: shows samples of later classes, which have no outputs yet with "
                     r"ce_scope=seen. Hint: ce_scope=all"),
    (["blurry=0.1", "repetition=0.1"], r"repetition=0.1: cannot be given beside blurry=0.1"),
    (["repetition=0.1", "tasks=1"], r"repetition=0.1: needs a second task"),
    (["repetition=1.0"], r"repetition=1.0: must be a number ≥ 0 and < 1"),
])  # fmt: skip
def test_what_does_not_fit_is_one_line(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        composed(*(f"dataset.{word}" for word in words))


def test_a_class_must_not_leave_its_task() -> None:
    words = r"repetition=0.9: is too much: no sample of class [01] of task 1 \(classes 0, 1\) stays"
    with pytest.raises(ConfigError, match=words):
        load(by_class(source=Numbered(per_class=3), repetition=0.9))


@pytest.mark.parametrize("kind", KINDS)
def test_a_share_of_which_no_sample_remains_is_refused(kind: str) -> None:
    """Or a run would be on sharp tasks, and its results say that they were not."""
    cut = by_class(**{kind: 0.008})
    with pytest.raises(ConfigError, match=f"{kind}=0.008: is too little: .* has 60 samples"):
        load(cut)
    load(by_class(**{kind: 0.009}))


def ids(samples) -> list[int]:
    return samples.index.tolist()
