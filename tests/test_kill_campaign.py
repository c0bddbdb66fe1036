"""The short form of the kill campaign, and the test of that test (`scripts/kill_campaign.py`)."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cl_runner.config.paths import CONF

CAMPAIGN = Path(__file__).parent.parent / "scripts" / "kill_campaign.py"
SHIPPED = sorted(file.stem for file in (CONF / "strategy").glob("*.yaml"))
VARIANTS = ["joint from scratch", "ewc online", "rehearsal_kd herding", "ewc channels_last"]
EVERYWHERE = ["ewc", "rehearsal_kd"]
"""Killed at each point, in two processes; the others at three of each run."""
OTHERS = [name for name in [*SHIPPED, *VARIANTS] if name not in EVERYWHERE]
GROUPS = [["ewc", *OTHERS[::2]], ["rehearsal_kd", *OTHERS[1::2]]]


@pytest.mark.parametrize("strategies", GROUPS, ids=["ewc and more", "rehearsal_kd and more"])
def test_killed_anywhere_continued_bit_for_bit(strategies: list[str]) -> None:
    done = campaign("--strategy", *strategies)
    assert done.returncode == 0, done.stdout + done.stderr
    *rows, last = done.stdout.splitlines()[1:]
    found = {re.split(r"  +", row)[0] for row in rows}
    assert found == set(strategies)
    kills = [int(row.split()[-3]) for row in rows]
    points = [int(row.split()[-4]) for row in rows]
    assert sum(k == p > 100 for k, p in zip(kills, points, strict=True)) == 1  # one everywhere
    assert min(kills) == 3 and last.startswith(f"{sum(kills)} kills, 0 mismatches")


def test_every_item_of_the_state_is_needed() -> None:
    done = campaign("--sabotage")
    assert done.returncode == 0, done.stdout + done.stderr
    first, *rows = done.stdout.splitlines()
    assert first.split(maxsplit=3)[2:] == ["nothing", "the same"]
    assert len(rows) >= 20 and not any(row.endswith("the same") for row in rows)


def campaign(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CAMPAIGN), *arguments]
    return subprocess.run(command, capture_output=True, text=True)
