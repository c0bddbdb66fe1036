"""A checkpoint that is not whole and harmless is not used; rows of docs/faults.md."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
from pathlib import Path

import pytest
import torch

from cl_runner.errors import CheckpointError
from cl_runner.run_folder.checkpoint import SCHEMA, Checkpoints, packed, unpacked
from cl_runner.training.settings import Schedule

TINY = ("epochs=2", "batch_size=64", "model.widths=[8]", "output_root=.", "name=run",
        "dataset.tasks=2", "strategy=rehearsal_kd")  # fmt: skip


def state(step: int) -> dict:
    return {
        "position": {"task": 0, "epoch": 0, "step": step},
        "cost": {"steps": step},
        "weights": torch.arange(1000.0) + step,
        "metrics_size": 0,
        "metrics_sha256": "",
    }


@pytest.fixture
def two(tmp_path: Path) -> Checkpoints:
    """The checkpoints of steps 1 and 2."""
    checkpoints = Checkpoints(tmp_path, "settings")
    for step in (1, 2):
        checkpoints.save(state(step))
    return checkpoints


def cut_to(size: float):
    def damage(file: Path) -> None:
        content = file.read_bytes()
        file.write_bytes(content[: int(size if size >= 0 else len(content) + size)])

    return damage


def half(file: Path) -> None:
    cut_to(file.stat().st_size // 2)(file)


def flip_in(place: float):
    """Flip a bit at this fraction of the file: 0.5 is in the middle of the tensor's data."""

    def damage(file: Path) -> None:
        content = bytearray(file.read_bytes())
        content[int(place * (len(content) - 1))] ^= 1
        file.write_bytes(content)

    return damage


def with_schema(schema: int):
    def damage(file: Path) -> None:
        manifest = {"schema": schema, "task": 0, "step": 2, "settings": "settings"}
        archive = io.BytesIO()
        torch.save(state(2), archive)
        head = json.dumps(manifest).encode() + b"\n"
        digest = hashlib.sha256(head + archive.getvalue()).hexdigest().encode()
        file.write_bytes(digest + b"\n" + head + archive.getvalue())

    return damage


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def malicious(file: Path) -> None:
    """A file with the right digest and an archive that runs code if it is unpickled."""
    marker = Malicious(file.parent / "marker")
    file.write_bytes(packed({"bad": marker}, {"schema": SCHEMA, "settings": "settings"}))


def plain_pickle(file: Path) -> None:
    content = pickle.dumps(Malicious(file.parent / "marker"), protocol=2)
    head = json.dumps({"schema": SCHEMA, "settings": "settings"}).encode() + b"\n"
    file.write_bytes(hashlib.sha256(head + content).hexdigest().encode() + b"\n" + head + content)


def no_manifest(file: Path) -> None:
    content = b"[1, 2]\nrest"
    file.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def no_state(file: Path) -> None:
    file.write_bytes(packed(torch.zeros(3), {"schema": SCHEMA, "settings": "settings"}))


DAMAGES = {
    "cut to 0 bytes": (cut_to(0), "damaged"),
    "cut to 1 byte": (cut_to(1), "damaged"),
    "cut in the middle": (half, "damaged"),
    "cut by 1 byte": (cut_to(-1), "damaged"),
    "a bit of the digest": (flip_in(0.001), "damaged"),
    "a bit of the manifest": (flip_in(0.02), "damaged"),
    "a bit of a tensor": (flip_in(0.5), "damaged"),
    "the last bit": (flip_in(1), "damaged"),
    "an older schema": (with_schema(SCHEMA - 1), f"has schema {SCHEMA - 1}, this version reads"),
    "a newer schema": (with_schema(SCHEMA + 1), f"has schema {SCHEMA + 1}, this version reads"),
    "a manifest that is none": (no_manifest, "has no manifest"),
    "a state of no run": (no_state, "is not the state of a run"),
    "malicious": (malicious, "holds more than tensors and plain values"),
    "a plain pickle": (plain_pickle, "holds more than tensors and plain values"),
}


def test_what_is_saved_comes_back_bit_for_bit(two: Checkpoints) -> None:
    saved, warnings = two.load()
    assert saved is not None and torch.equal(saved["weights"], state(2)["weights"])
    assert warnings == []
    manifest, archive = unpacked(two.newest_first()[0])
    assert manifest == {"schema": SCHEMA, "task": 0, "step": 2, "settings": "settings",
                        "size": len(archive)}  # fmt: skip


@pytest.mark.parametrize(("damage", "words"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_one_is_set_aside_for_the_one_before(damage, words, two: Checkpoints) -> None:
    newest, before = two.newest_first()
    damage(newest)
    saved, (warning,) = two.load()
    assert saved is not None and torch.equal(saved["weights"], state(1)["weights"])
    assert newest.name in warning and words in warning
    assert f"going back to {before.name}" in warning
    assert sorted(p.name for p in two.folder.iterdir()) == [before.name, f"{newest.name}.bad"]


@pytest.mark.parametrize(("damage", "words"), DAMAGES.values(), ids=DAMAGES.keys())
def test_without_a_good_one_the_run_does_not_go_on(damage, words, two: Checkpoints) -> None:
    files = two.newest_first()
    for file in files:
        damage(file)
    with pytest.raises(CheckpointError) as raised:
        two.load()
    assert raised.value.exit_code == 7
    assert all(f"{file.name} " in str(raised.value) for file in files)
    assert str(raised.value).count(words) == 2 and "\n" not in str(raised.value)
    assert two.newest_first() == files  # left as they are, to be looked at
    assert not (two.folder / "marker").exists()


def test_a_checkpoint_of_other_settings_is_not_used(two: Checkpoints) -> None:
    with pytest.raises(CheckpointError, match="belongs to a run with other settings"):
        Checkpoints(two.folder, "others").load()


def test_the_newest_two_are_kept_and_no_part_of_one(two: Checkpoints) -> None:
    (two.folder / "task-00000-step-0000000003.ckpt.part").write_bytes(b"half")
    two.save(state(3))
    assert [file.name for file in two.newest_first()] == [
        "task-00000-step-0000000003.ckpt",
        "task-00000-step-0000000002.ckpt",
    ]
    assert len(list(two.folder.iterdir())) == 2


def test_the_newest_is_the_newest_after_a_thousand_tasks(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "settings")
    for task in (998, 999, 1000, 9999):
        position = {"task": task, "epoch": 0, "step": 0}
        checkpoints.save({**state(task * 1_000_000), "position": position})
    saved, _ = checkpoints.load()
    assert saved is not None and saved["position"]["task"] == 9999


@pytest.mark.parametrize(
    ("steps", "minutes", "due"),
    [(None, None, []), (3, None, [3, 4, 5]), (None, 0.05, [4, 5]), (2, 0.05, [2, 3, 4, 5])],
)
def test_it_is_saved_after_so_many_steps_or_minutes(steps, minutes, due) -> None:
    schedule = Schedule(every_n_steps=steps, every_n_minutes=minutes)
    assert [n for n in range(1, 6) if schedule.due(n, n * 0.75)] == due


def test_a_stale_part_does_not_disturb_a_run(cl_train_here, tmp_path: Path) -> None:
    whole = results(cl_train_here, tmp_path, "whole")
    stale = tmp_path / "run" / "checkpoint" / "task-00009-step-0000000009.ckpt.part"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"half of one")
    assert results(cl_train_here, tmp_path, "run") == whole
    assert not stale.exists()


@pytest.mark.parametrize("damage", [half, flip_in(0.5), malicious])
def test_a_run_goes_on_from_the_checkpoint_before(damage, cl_train_here, tmp_path: Path) -> None:
    """If all are damaged, the run does not start: exit code 7, one line, no code executed."""
    trust = "trusted_targets=[faulty]"
    done = cl_train_here(*TINY, trust, "strategy=finetune", "strategy._target_=faulty.Failing",
                         "+strategy.fault=output NaN", "checkpoint.every_n_steps=3")  # fmt: skip
    assert done.returncode == 3
    newest, before = sorted((tmp_path / "run" / "checkpoint").glob("*.ckpt"), reverse=True)
    damage(newest)
    done = cl_train_here("resume=run", trust)
    assert done.returncode == 3  # it goes on, and fails again where it failed
    for printed in (done.stderr, (tmp_path / "run" / "log.txt").read_text()):
        assert printed.count(f"going back to {before.name}") == 1
    for file in (tmp_path / "run" / "checkpoint").glob("*.ckpt"):
        damage(file)
    done = cl_train_here("resume=run", trust)
    assert done.returncode == 7 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("checkpoint error: none in ")
    assert not list(tmp_path.rglob("marker"))


def results(cl_train_here, tmp_path: Path, name: str) -> bytes:
    arguments = [argument for argument in TINY if not argument.startswith("name=")]
    assert cl_train_here(*arguments, f"name={name}").returncode == 0
    return (tmp_path / name / "predictions.npz").read_bytes()
