"""Why a task was forgotten, against loops over samples and losses of one kind only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cl_runner.forgetting import OWN, PROBE, PROBE_OWN, course, key_of, labels_of

OWN_CLASSES = [range(2), range(2, 5), range(5, 6)]
SAMPLES = 12
Arrays = dict[str, Any]


@st.composite
def records(draw: st.DrawFn) -> Arrays:
    """Labels and predictions of three tasks, any that are possible: what is right among all classes
    is right among the task's own."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    arrays: Arrays = {}
    for k, own in enumerate(OWN_CLASSES):
        arrays[labels_of(k)] = random.integers(own.start, own.stop, SAMPLES)
        for t in range(k, len(OWN_CLASSES)):
            seen = OWN_CLASSES[t].stop
            for among_all, among_own in (("", OWN), (PROBE, PROBE_OWN)):
                mine = random.integers(own.start, own.stop, SAMPLES)
                other = random.integers(0, seen, SAMPLES)
                inside = (own.start <= other) & (other < own.stop)
                arrays[key_of(t, k) + among_own] = mine
                arrays[key_of(t, k) + among_all] = np.where(inside, mine, other)
    return arrays


def counted(arrays: Arrays, t: int, k: int) -> dict[str, float]:
    """Every share, sample by sample."""
    found = dict.fromkeys(("right", "own", "probe", "all", "latest", "other", "wrong"), 0)
    key = key_of(t, k)
    for n in range(SAMPLES):
        y, called = arrays[labels_of(k)][n], arrays[key][n]
        found["own"] += arrays[key + OWN][n] == y
        found["probe"] += arrays[key + PROBE_OWN][n] == y
        found["all"] += arrays[key + PROBE][n] == y
        if called == y:
            found["right"] += 1
        elif called in OWN_CLASSES[k]:
            found["wrong"] += 1
        elif called in OWN_CLASSES[t]:
            found["latest"] += 1
        else:
            found["other"] += 1
    return {name: count / SAMPLES for name, count in found.items()}


@given(records())
def test_shares_and_parts_are_those_of_loops_over_samples(arrays: Arrays) -> None:
    found = course(arrays, OWN_CLASSES, shared=False, named=False)
    assert found.bias is not None
    for t in range(3):
        for k in range(t + 1):
            expected, then = counted(arrays, t, k), counted(arrays, k, k)
            shares, parts = found.shares[t][k], found.parts(t, k)
            assert list(vars(shares).values()) == pytest.approx(list(expected.values()))
            called = shares.called_latest + shares.called_other + shares.called_own
            assert shares.right + called == pytest.approx(1)
            assert parts.loss == pytest.approx(then["right"] - expected["right"], abs=1e-12)
            assert parts.features == pytest.approx(then["probe"] - expected["probe"], abs=1e-12)
            hidden = [one["latest"] + one["other"] for one in (expected, then)]
            wrong_then = [one["own"] - one["right"] for one in (expected, then)]
            assert parts.hidden == pytest.approx(wrong_then[0] - wrong_then[1], abs=1e-12)
            assert wrong_then[0] <= hidden[0] + 1e-12
        calls = [c for k in range(t + 1) for c in arrays[key_of(t, k)]]
        bias = sum(c in OWN_CLASSES[t] for c in calls) / len(calls) - 1 / (t + 1)
        assert found.bias[t] == pytest.approx(bias, abs=1e-12)
        for c, accuracy in found.classes[t].items():
            (k,) = [k for k, own in enumerate(OWN_CLASSES) if c in own]
            mine = [arrays[key_of(t, k)][n] == c for n in range(SAMPLES)
                    if arrays[labels_of(k)][n] == c]  # fmt: skip
            assert accuracy == pytest.approx(sum(mine) / len(mine))


@given(records())
def test_without_a_refitted_head_two_parts_add_up_to_the_same_loss(arrays: Arrays) -> None:
    whole = course(arrays, OWN_CLASSES, shared=False, named=False).lost
    plain = {key: value for key, value in arrays.items() if PROBE not in key}
    lost = course(plain, OWN_CLASSES, shared=False, named=False).lost
    assert lost.features is None and lost.hidden == whole.hidden
    assert lost.head == pytest.approx((whole.features or 0) + whole.head, abs=1e-12)
    assert lost.loss == pytest.approx(whole.loss, abs=1e-12)


@given(records())
def test_nothing_is_hidden_if_the_task_is_named(arrays: Arrays) -> None:
    found = course(arrays, OWN_CLASSES, shared=False, named=True)
    for t in range(3):
        for k in range(t + 1):
            shares, expected = found.shares[t][k], counted(arrays, t, k)
            assert shares.right == shares.right_among_own == pytest.approx(expected["own"])
            assert shares.called_latest == shares.called_other == found.parts(t, k).hidden == 0
    assert found.bias is None


def two_tasks(now: list[int], own: list[int], probe: list[int]) -> Arrays:
    """Task 1 has classes 0 and 1, all right at first; these are its predictions after task 2."""
    y = [0, 0, 1, 1]
    learned = {key_of(0, 0) + end: y for end in ("", OWN, PROBE, PROBE_OWN)}
    later = {"": now, OWN: own, PROBE: now, PROBE_OWN: probe}
    second = {key_of(1, 1) + end: [2, 3] for end in later}
    after = {key_of(1, 0) + end: classes for end, classes in later.items()}
    arrays = learned | second | after | {labels_of(0): y, labels_of(1): [2, 3]}
    return {key: np.array(classes) for key, classes in arrays.items()}


@pytest.mark.parametrize(
    ("kind", "now", "own", "probe"),
    [
        ("hidden", [2, 3, 2, 3], [0, 0, 1, 1], [0, 0, 1, 1]),
        ("head", [1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1]),
        ("features", [1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]),
    ],
)
def test_a_loss_of_one_kind_has_one_part(kind, now, own, probe) -> None:
    lost = course(two_tasks(now, own, probe), [range(2), range(2, 4)], False, False).lost
    assert vars(lost) == {"features": 0, "head": 0, "hidden": 0} | {kind: 1.0}
