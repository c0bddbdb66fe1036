"""The short form of the kill campaign, and the test of that test (`scripts/kill_campaign.py`)."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

CAMPAIGN = Path(__file__).parent.parent / "scripts" / "kill_campaign.py"
GROUPS = [
    ["ewc", "si", "finetune", "joint"],
    ["rehearsal_kd", "rehearsal_kd herding", "rehearsal", "gdumb", "lwf", "kd"],
]


@pytest.mark.parametrize("strategies", GROUPS, ids=["regularised", "replayed"])
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
