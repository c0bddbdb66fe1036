"""The registry of metrics: a metric only needs an entry, also for runs that are older than it."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from planted_runs import document, run_folder

from cl_runner.measures import MEASURES, SHARE
from cl_runner.metrics import METRICS, Matrix, metric
from cl_runner.report import command
from cl_runner.run_folder import read
from cl_runner.run_folder.plain import Damaged

PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"
OF_CLASSES = {
    "accuracy": [[0.9, None], [0.6, 0.8]],
    "accuracy_reference": [[0.95, None], [0.9, 0.9]],
    "accuracy_before_learning": [None, 0.3],
    "accuracy_untrained": [0.5, 0.4],
    "accuracy_curve": [
        {"task": task, "accuracy": row}
        for task, row in [(0, [0.9]), (1, [0.2, 0.5]), (1, [0.6, 0.8])]
    ],
}
OF_REALS = {"mse": [[0.01, None], [0.04, 0.02]]}


def stored(folder: Path, node: dict) -> dict[str, float | None]:
    """The metrics of a folder with this `results.json`."""
    (folder / "results.json").write_text(json.dumps(node))
    return read.results(folder).metrics


def as_code(definition: str) -> str:
    """Entries of the matrices as code, as the site would read them as links."""
    return re.sub(r"[RM]\[[^]]+\]\[\w+\]", r"`\g<0>`", definition)


def test_the_page_has_each_metric_as_it_is_registered() -> None:
    better = {True: "more", False: "less"}
    rows = [
        f"| `{name}` | {m.unit.name} | {better[m.more_is_better]} | {as_code(m.definition)} |"
        for name, m in METRICS.items()
    ]
    table = PAGE.read_text("utf-8").partition("| metric | unit |")[2].partition("\n\n")[0]
    assert table.splitlines()[2:] == rows
    assert all(len(m.definition) > 20 for m in METRICS.values())


def test_the_headline_of_each_measure_is_registered() -> None:
    assert all(name in METRICS for m in MEASURES.values() for name in m.headline)


@pytest.mark.parametrize("measured", [OF_CLASSES, OF_REALS])
def test_a_metric_that_a_file_lacks_comes_back_with_the_same_value(measured, tmp_path) -> None:
    full = stored(tmp_path, document(**measured))
    applicable = [name for name, value in full.items() if value is not None]
    assert len(applicable) == (2 if measured is OF_REALS else len(METRICS) - 2)
    whole = {**document(**measured), **full}
    for name in METRICS:
        assert stored(tmp_path, {k: v for k, v in whole.items() if k != name}) == full, name


def test_a_metric_in_a_file_is_taken_from_there(tmp_path: Path) -> None:
    node = document(**OF_CLASSES)
    assert stored(tmp_path, node)["forgetting"] == pytest.approx(0.3)
    assert stored(tmp_path, {**node, "forgetting": 0.25})["forgetting"] == 0.25
    assert stored(tmp_path, {**node, "forgetting": None})["forgetting"] is None


@pytest.mark.parametrize("value", [2.5, -2.5, "0.1", True, [0.1]])
def test_a_metric_that_its_unit_forbids_is_damage(value, tmp_path: Path) -> None:
    with pytest.raises(Damaged, match="forgetting"):
        stored(tmp_path, {**document(**OF_CLASSES), "forgetting": value})


def test_a_file_of_a_later_version_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(Damaged, match=r"schema: .* less than or equal to 1"):
        stored(tmp_path, {**document(**OF_CLASSES), "schema": 99})


@pytest.fixture
def worst_task() -> str:
    """A metric that was invented after the runs were made."""

    @metric(SHARE, more_is_better=True)
    def worst_task(R: Matrix) -> float:
        """The lowest accuracy on any task after the last one: invented for this test."""
        return min(accuracy for accuracy in R[-1] if accuracy is not None)

    return worst_task.__name__


def test_a_new_metric_is_in_the_report_of_an_old_run(worst_task, tmp_path: Path) -> None:
    for seed, old in enumerate((0.25, 0.35)):
        folder = run_folder(tmp_path / "runs" / f"{seed}", "ewc", seed, (old, 0.75))
        assert worst_task not in (folder / "results.json").read_text()
    command.report([tmp_path / "runs"], tmp_path / "out")
    with (tmp_path / "out" / "results.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row[worst_task]) == pytest.approx(0.3)
    with (tmp_path / "out" / "runs.csv").open() as file:
        assert [float(row[worst_task]) for row in csv.DictReader(file)] == [0.25, 0.35]
    for name in ("report.html", "results.md", "results.tex"):
        text = (tmp_path / "out" / name).read_text()
        assert "worst task" in text and "30.0 ± 7.1" in text.replace("$\\pm$", "±"), name
    assert "invented for this test" in (tmp_path / "out" / "report.html").read_text()


def test_a_metric_of_errors_is_no_metric_of_classes(worst_task, tmp_path: Path) -> None:
    found = stored(tmp_path, document(**OF_REALS))
    assert found[worst_task] is None and found["mse_growth"] == pytest.approx(4)


def test_a_unit_says_how_its_numbers_are_written() -> None:
    accuracy, mse = MEASURES["accuracy"], MEASURES["mse"]
    assert (accuracy.unit.text(0.912), mse.unit.text(0.01234)) == ("91.2", "0.0123")
    assert (accuracy.unit.text(0.05, "+"), mse.unit.text(None)) == ("+5.0", "–")
    assert (accuracy.label, mse.label) == ("accuracy in %", "mean squared error")
    assert accuracy.sentence(0.5) == "accuracy 50.0 %" and mse.gain(mse.gain(0.5)) == 0.5
