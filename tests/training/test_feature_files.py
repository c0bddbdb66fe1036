"""The files that keep the features of a frozen body: what names them, damage, which ones stay."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from running import composed, final_state, run_here
from test_frozen_features import RUN, Scaled, files, own, plain_stream

from cl_runner.data.samples import Pixels
from cl_runner.models.network import Network
from cl_runner.training import frozen_features
from cl_runner.training.frozen_features import of_stream
from cl_runner.training.run import build_strategy

__all__ = ["own"]
"""The cache of these tests, for each of them."""


class Inverted(Pixels):
    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return 1 - super().__call__(images)


def test_they_are_computed_once_and_are_the_same_from_the_file(tmp_path, monkeypatch) -> None:
    first = run_here(tmp_path / "first", *RUN)
    assert "features of 1,797 samples: computed in" in (tmp_path / "first" / "log.txt").read_text()
    monkeypatch.setattr(Network, "features_of_body", None)
    again = run_here(tmp_path / "again", *RUN, "strategy=finetune")
    assert "read from the cache" in (tmp_path / "again" / "log.txt").read_text()
    monkeypatch.setattr(frozen_features, "fits", lambda size: False)
    mapped = run_here(tmp_path / "mapped", *RUN)
    assert first["accuracy"] == again["accuracy"] == mapped["accuracy"]
    states = [final_state(tmp_path / name)["strategy"] for name in ("first", "again", "mapped")]
    assert all(torch.equal(states[0][key], state[key]) for state in states for key in states[0])


def test_the_files_that_were_used_last_stay(tmp_path: Path, monkeypatch) -> None:
    """And where none can be removed, those that were read are not computed again."""
    network, stream = build_strategy(composed(*RUN)).network, plain_stream()

    def used(task: int) -> set[Path]:
        """The files that are new."""
        before, of = {*files(tmp_path)}, slice(task, task + 1)
        some = replace(stream, tasks=stream.tasks[of], test=stream.test[of])
        of_stream(some, network, "cpu", {})
        return {*files(tmp_path)} - before

    first, second = used(0), used(1)
    for file in first | second:
        os.utime(file, (1, 1))  # long ago
    assert used(0) == set()
    monkeypatch.setattr(frozen_features, "MOST", 750 * 48 * 4)  # two tasks of about 360 fit
    third = used(2)
    assert {*files(tmp_path)} == first | third and second
    monkeypatch.setattr(frozen_features, "MOST", 0)
    monkeypatch.setattr(Path, "unlink", refuse)
    monkeypatch.setattr(Network, "features_of_body", None)
    assert used(0) == set()


def refuse(*_: object, **__: object) -> None:
    raise PermissionError


@pytest.mark.parametrize("damage", ["cut", "changed", "no folder"])
def test_a_damaged_file_is_made_again(damage: str, tmp_path: Path) -> None:
    first = run_here(tmp_path / "first", *RUN)
    contents = [file.read_bytes() for file in files(tmp_path)]
    for file in files(tmp_path):
        content = file.read_bytes()
        if damage == "no folder":
            file.unlink()
            file.mkdir()
        else:
            file.write_bytes(content[:-9] if damage == "cut" else b"\1" + content[1:])
    assert run_here(tmp_path / "again", *RUN)["accuracy"] == first["accuracy"]
    if damage != "no folder":
        assert [file.read_bytes() for file in files(tmp_path)] == contents


@pytest.mark.parametrize(
    "word",
    ["seed=1", "dataset.pixels.mean=[0.30001]", "model.resize=16", "precision=bf16",
     "dataset.samples_per_task=40"],
)  # fmt: skip
def test_what_they_depend_on_gives_another_file(word: str, tmp_path: Path) -> None:
    run_here(tmp_path / "first", *RUN, "dataset.pixels.mean=[0.3]")
    before = len(files(tmp_path))
    run_here(tmp_path / "other", *RUN, "dataset.pixels.mean=[0.3]", word)
    assert len(files(tmp_path)) == before + (1 if word.startswith("dataset.samples") else 2)


def test_a_setting_of_the_body_or_another_preparation_gives_another_file() -> None:
    """Each has the features that the body gives for what it sees, whatever was kept before."""
    plain = {"mean": [0.0], "std": [1.0], "padding": 0, "crop_padding": 0, "flip": False,
             "per_picture": False}  # fmt: skip
    for scale, kind in itertools.product((1.0, 3.0), (Pixels, Inverted)):
        target = f"{Scaled.__module__}.Scaled"
        words = (f"model.body._target_={target}", f"+model.body.scale={scale}")
        settings = composed("model=wrapped", "model.frozen=true", RUN[-2], *words)
        network, stream = build_strategy(settings).network, plain_stream(kind(**plain))
        config = {"model": {"body": {"_target_": target, "scale": scale}}}
        made, _ = of_stream(stream, network, "cpu", config)
        with torch.no_grad():
            expected = network.eval().body(stream.test[0].x)
        torch.testing.assert_close(made.test[0].x.flatten(1), expected)
