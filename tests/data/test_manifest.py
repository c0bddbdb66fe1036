"""Pictures that a CSV file lists: their tasks and groups, and paths that stay below the root."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import own_data
import pytest
import torch
from running import run_here

from cl_runner.data.by_column import ByColumn
from cl_runner.data.manifest import Manifest
from cl_runner.data.samples import Pixels
from cl_runner.data.source import read
from cl_runner.data.stream import Stream
from cl_runner.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return own_data.listed(tmp_path / "mine", 4)


def source(root: Path, **changed: Any) -> Manifest:
    settings = {"file": "samples.csv", "size": 6, "channels": 3, "on_error": "stop"}
    return Manifest(root=str(root), **settings | changed)


def cut(root: Path, scenario: str = "domain_incremental", fraction: float = 0.0) -> ByColumn:
    pixels = Pixels(mean=[0.0], std=[1.0], padding=0, crop_padding=0, flip=False, per_picture=False)
    return ByColumn(source=source(root), root="", scenario=scenario, samples_per_task=None,
                    blurry=0.0, repetition=0.0,
                    validation_fraction=fraction, pixels=pixels)  # fmt: skip


def stream(*arguments: Any) -> Stream:
    return cut(*arguments).load(seed=0, scope="seen", device="cpu")


def write(root: Path, *lines: str, header: str = "path,label,split,task") -> Path:
    (root / "samples.csv").write_text("\n".join([header, *lines]) + "\n")
    return root


def rewrite(root: Path, change: Callable[[list[str]], object]) -> None:
    """Change the cells of each line in place, with the head."""
    rows = [line.split(",") for line in (root / "samples.csv").read_text().splitlines()]
    for row in rows:
        change(row)
    (root / "samples.csv").write_text("\n".join(map(",".join, rows)) + "\n")


def test_each_task_has_the_samples_that_the_file_gives_it(root: Path) -> None:
    made = stream(root)
    assert made.outline.names == ["day", "night"] and made.outline.labels == [[0, 1]] * 2
    for task, test, red in zip(made.tasks, made.test, (200, 60), strict=True):
        for samples in (task.train, test):
            assert samples.y.tolist() == [0] * 4 + [1] * 4
            assert samples.raw[:4, 0, -1, -1].tolist() == [red] * 4  # cats, by day and by night


def test_groups_stay_together(root: Path) -> None:
    """Two pictures make a group."""
    for task in stream(root, "domain_incremental", 0.5).tasks:
        held = task.validation.rows
        assert len(held) == 4 and torch.equal(held[::2] + 1, held[1::2])
        assert (held[::2] % 2 == 0).all()


def test_a_sample_without_a_group_is_alone(root: Path) -> None:
    rows = (root / "samples.csv").read_text().splitlines()
    in_train = [n for n, row in enumerate(rows) if row.split(",")[2] == "train"]
    together = {rows[n].split(",")[0] for n in in_train[:2]}
    rewrite(root, lambda row: row.__setitem__(4, {"group": "group"}.get(row[4], "")))
    rewrite(root, lambda row: row.__setitem__(4, "g" if row[0] in together else row[4]))
    train, test = source(root).load("")
    assert train.groups is not None
    assert train.groups.unique(return_counts=True)[1].tolist() == [2, *[1] * (len(in_train) - 2)]
    assert test.groups is None or len(test.groups.unique()) == len(test.labels)


@pytest.mark.parametrize("scenario", ["class_incremental", "task_incremental"])
def test_tasks_may_have_classes_of_their_own(root: Path, scenario: str) -> None:
    rewrite(root, lambda row: row.__setitem__(1, {"day": "", "night": "dark "}.get(row[3], "")
                                              + row[1]))  # fmt: skip
    made = stream(root, scenario)
    assert source(root).class_names == ["cat", "dark cat", "dark dog", "dog"]
    assert made.outline.labels == [[0, 3], [1, 2]]
    assert [sorted(set(task.train.y.tolist())) for task in made.tasks] == [[0, 1], [2, 3]]


def test_numbers_are_in_the_order_of_numbers(root: Path) -> None:
    rewrite(root, lambda row: row.__setitem__(3, {"day": "10", "night": "9"}.get(row[3], row[3])))
    rewrite(root, lambda row: row.__setitem__(1, {"cat": "2", "dog": "11"}.get(row[1], row[1])))
    assert source(root).task_names == ["9", "10"] and source(root).class_names == ["2", "11"]


def test_a_run_on_domains(root: Path, tmp_path: Path) -> None:
    words = ("dataset=csv", f"dataset.root={root}", "epochs=5", "model.widths=[8]",
             "optimizer.lr=0.05", "dataset.source.size=4")  # fmt: skip
    results = run_here(tmp_path / "run", *words)
    assert [task["name"] for task in results["tasks"]] == ["day", "night"]
    assert results["accuracy"][0][0] == 1.0


def test_classes_in_several_tasks_make_domains(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"class 0 is in the tasks day and night.*domain_incr"):
        cut(root, "class_incremental")


def test_without_a_column_of_tasks_the_cut_says_so(root: Path) -> None:
    rewrite(root, lambda row: row.pop(3))
    assert [split.tasks for split in read(source(root), "")] == [None, None]
    with pytest.raises(ConfigError, match="has no column of tasks"):
        cut(root)


def link_out(root: Path) -> None:
    own_data.picture(root.parent / "secret.png", (1, 2, 3), 0)
    (root / "pictures" / "day" / "train" / "cat0.png").unlink()
    (root / "pictures" / "day" / "train" / "cat0.png").symlink_to(root.parent / "secret.png")


def folder_out(root: Path) -> None:
    (root / "pictures" / "day").rename(root.parent / "day")
    (root / "pictures" / "day").symlink_to(root.parent / "day")


LINES = ("a.png,cat,train,1", "a.png,cat,test,1", "a.png,dog,train,1", "a.png,dog,test,1")
WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda r: (r / "samples.csv").unlink(),
                "samples.csv cannot be read: No such file or directory. Hint: dataset.root="),
    "empty": (lambda r: (r / "samples.csv").write_text(""), "has no column path, label, split"),
    "no label": (lambda r: write(r, header="path,split"), "has no column label"),
    "no lines": (lambda r: write(r), "lists no sample of the split train"),
    "no test": (lambda r: write(r, *LINES[::2]), "lists no sample of the split test"),
    "one class": (lambda r: write(r, *LINES[:2]), "has one class, cat"),
    "only tested": (lambda r: write(r, *LINES[:2], LINES[3]), "class dog in the split test, but n"),
    "not tested": (lambda r: write(r, *LINES[:3]), "class dog in the split train, but not in test"),
    "another split": (lambda r: write(r, *LINES, "a.png,cat,val,1"), "line 6: split is val, must"),
    "short line": (lambda r: write(r, *LINES, "a.png,cat"), "line 6: split is empty"),
    "no task": (lambda r: write(r, *LINES, "a.png,cat,train,"), "line 6: task is empty"),
    "absolute": (lambda r: write(r, *LINES, "/etc/passwd,cat,train,1"), "must be a path below"),
    "upward": (lambda r: write(r, *LINES, "b/../../a.png,cat,train,1"), "must be a path below"),
    "no picture": (lambda r: write(r, *LINES), "a.png is missing"),
    "a link": (link_out, "pictures/day/train/cat0.png leads out of"),
    "a linked folder": (folder_out, "pictures/day/train/cat0.png leads out of"),
    "not text": (lambda r: (r / "samples.csv").write_bytes(b"path,label,split\n\xff\xfe"),
                 "samples.csv cannot be read: 'utf-8' codec"),
    "quotes": (lambda r: write(r, *LINES, '"a.png,cat'), "samples.csv cannot be read: unexpected"),
    "not trained": (lambda r: rewrite(r, lambda row: row.__setitem__(
        1, "dog") if row[2:4] == ["train", "day"] else None), "has no training sample of class 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_line(case: str, root: Path) -> None:
    damage, words = WRONG[case]
    damage(root)
    with pytest.raises(DataError, match=words) as raised:
        stream(root)
    assert "\n" not in str(raised.value)
