"""The short form of the kill campaign, and the test of that test (`scripts/kill_campaign.py`)."""

from __future__ import annotations

import re
from pathlib import Path

import kill_campaign
import kill_streams
import pytest
import yaml
from processes import exit_code, fork, run_and_exit

from cl_runner.config.paths import CONF

EVERYWHERE = "rehearsal_kd"
"""Killed at each point; the others at three, one after the other. In two processes."""
OTHERS = [name for name in kill_campaign.STRATEGIES if name != EVERYWHERE]
GROUPS = [[*OTHERS[::3], EVERYWHERE], [*OTHERS[1::3], *OTHERS[2::3]]]


def test_every_kind_of_stream_takes_part() -> None:
    """Each class of a data set, each scenario, and both ways of mixing; and there are more runs
    than streams, which take turns."""
    every = " ".join(word for words in kill_streams.STREAMS.values() for word in words)
    options = {word.partition("=")[2] for word in every.split() if word.startswith("dataset=")}
    target = {file.stem: yaml.safe_load(file.read_text())["_target_"]
              for file in (CONF / "dataset").glob("*.yaml")}  # fmt: skip
    missing = set(target.values()) - {target[option] for option in {*options, "digits"}}
    assert missing <= {target["avalanche"]}  # which is only there where it is installed
    for word in (
        "scenario=task_incremental",
        "scenario=domain_incremental",
        "blurry=",
        "repetition=",
    ):
        assert f"dataset.{word}" in every
    assert len(kill_streams.STREAMS) <= len(kill_campaign.SHIPPED)


@pytest.mark.parametrize("strategies", GROUPS, ids=["one everywhere", "the others"])
def test_killed_anywhere_continued_bit_for_bit(strategies: list[str], tmp_path: Path) -> None:
    *rows, last = campaign(tmp_path, "--strategy", *strategies)[1:]
    assert len({re.split(r"  +", row)[2] for row in rows}) >= 8  # streams
    found = {re.split(r"  +", row)[0] for row in rows}
    assert found == set(strategies)
    kills = [int(row.split()[-3]) for row in rows]
    points = [int(row.split()[-4]) for row in rows]
    everywhere = sum(k > p > 100 for k, p in zip(kills, points, strict=True))
    assert everywhere == (EVERYWHERE in strategies)
    assert min(kills) == 3 and last.startswith(f"{sum(kills)} kills, 0 mismatches")


def test_every_item_of_the_state_is_needed(tmp_path: Path) -> None:
    first, *rows = campaign(tmp_path, "--sabotage")
    assert first.split(maxsplit=3)[2:] == ["nothing", "the same"]
    assert len(rows) >= 20 and not any(row.endswith("the same") for row in rows)


def campaign(folder: Path, *arguments: str) -> list[str]:
    """What it prints, in a forked process, which saves the import of torch."""
    child = fork()
    if child == 0:
        command = ["kill_campaign", *arguments]
        run_and_exit(folder, command, kill_campaign.main)
    code, *printed = exit_code(child), *((folder / n).read_text() for n in ("stdout", "stderr"))
    assert code == 0, "".join(printed)
    return printed[0].splitlines()
