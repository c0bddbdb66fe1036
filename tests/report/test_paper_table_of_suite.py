"""The table of a suite: a row for each of its runs, several of which may have one strategy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from planted_runs import run_folder

from cl_runner.errors import ConfigError
from cl_runner.report.paper.command import Wanted, table
from cl_runner.reproduce import suite as suites


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Two settings of EWC and fine-tuning, as the suite calls them, with two seeds."""
    folder = tmp_path / "ewc_mnist_to_fashion"
    names = suites.read(folder.name).folder_name
    for seed in (0, 1):
        for weight, value in ((1e3, 0.5), (1e4, 0.6)):
            name = f"EWC {weight:.0e}".replace("+0", "")
            run_folder(folder / names(name, seed), "ewc", seed, (value, value), weight=weight)
        run_folder(folder / names("fine-tuning", seed), "finetune", seed, (0.2, 0.2))
    (folder / "verdict.json").write_text(json.dumps({"suite": folder.name, "rows": []}))
    return folder


def rows(markdown: str) -> dict[str, str]:
    lines = [line for line in markdown.splitlines() if line.startswith("|")][2:]
    return {cells[1].strip(): cells[2].strip() for cells in (line.split("|") for line in lines)}


def test_a_suite_has_a_row_for_each_of_its_runs_in_its_order(suite, tmp_path) -> None:
    text, _ = table([suite], tmp_path / "out", Wanted())
    expected = {"fine-tuning": "20.0 ± 0.0", "EWC 1e3": "50.0 ± 0.0", "EWC 1e4": "**60.0** ± 0.0"}
    order = [name for name in suites.read(suite.name).runs if name in expected]
    assert rows(text) == {name: expected[name] for name in order}
    assert [*rows(text)] == order


def test_other_rows_can_be_asked_for(suite, tmp_path) -> None:
    wanted = Wanted(rows=["strategy"], columns=["strategy.weight"])
    text, _ = table([suite], tmp_path / "out", wanted)
    assert [*rows(text)] == ["Fine-tuning", "EWC"]
    some, _ = table([suite], tmp_path / "out", Wanted(rows=["run=EWC 1e4,fine-tuning"]))
    assert [*rows(some)] == ["EWC 1e4", "fine-tuning"]


def test_runs_of_no_suite_have_no_such_name(suite, tmp_path) -> None:
    (suite / "verdict.json").unlink()
    with pytest.raises(ConfigError, match="--rows=run: is a setting that no run has"):
        table([suite], tmp_path / "out", Wanted(rows=["run"]))
    with pytest.raises(ConfigError, match="has 2 settings"):
        table([suite], tmp_path / "out", Wanted(columns=["dataset"]))
