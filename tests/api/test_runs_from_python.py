"""`cl_runner.load`: what Python reads of runs, against their files."""

from __future__ import annotations

import builtins
import json
import shutil
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pytest
from planted_runs import run_folder

import cl_runner
from cl_runner import errors
from cl_runner.report import command
from cl_runner.run_folder import read

TINY = ("epochs=1", "batch_size=64", "model.widths=[8]", "dataset.tasks=3", "threads=1")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two strategies with two seeds, and a run that diverged."""
    root = tmp_path_factory.mktemp("trained")
    for strategy in ("finetune", "rehearsal"):
        for seed in (0, 1):
            where = (f"output_root={root}", f"name={strategy}_{seed}")
            cl_runner.run(*TINY, *where, f"strategy={strategy}", f"seed={seed}")
    with pytest.raises(errors.Diverged):
        where = (f"output_root={root}", "name=too_fast", "optimizer=sgd", "optimizer.lr=1e18")
        cl_runner.run(*TINY, *where)
    return root


def results(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return found


def test_a_run_is_what_its_files_say(trained: Path) -> None:
    runs = cl_runner.load(trained)
    assert [run.folder.name for run in runs] == [
        "finetune_0", "finetune_1", "rehearsal_0", "rehearsal_1", "too_fast",
    ]  # fmt: skip
    run = runs[3]
    file = results(trained / "rehearsal_1")
    assert run.complete and run.state == "complete" and run.error == ""
    assert run.config["seed"] == 1 and run.config["strategy"]["buffer_size"] > 0
    assert run.metrics["forgetting"] == file["forgetting"]
    assert run.metrics["average_mse"] is None
    assert run.accuracy is not None and run.mse is None
    assert run.accuracy.shape == (3, 3) and run.accuracy.dtype == np.float64
    for t, row in enumerate(file["accuracy"]):
        for k, value in enumerate(row):
            assert np.isnan(run.accuracy[t, k]) if value is None else run.accuracy[t, k] == value
    assert (run.predictions()["labels_of_task_1"] < 2).all()
    assert runs[-1].state == "failed" and "diverged" in runs[-1].error
    assert [run.folder.name for run in runs[:2]] == ["finetune_0", "finetune_1"]
    with pytest.raises(cl_runner.RunError, match=r"too_fast is not complete \(failed: diverged"):
        _ = runs[-1].metrics


def test_a_run_prints_what_the_command_prints(trained: Path, cl_train_here) -> None:
    shell = cl_train_here(*TINY, "strategy=rehearsal", "seed=1", "output_root=.", "name=again")
    told = str(cl_runner.Run.at(trained / "rehearsal_1"))

    def without(text: str, folder: str) -> list[str]:
        *lines, metrics, _folder = text.strip().splitlines()
        return [*lines, metrics.rpartition("  ")[0]]  # the seconds

    assert without(told, "rehearsal_1") == without(shell.stdout, "again")
    assert told.endswith(f"run folder: {trained / 'rehearsal_1'}")


def test_the_table_has_the_means_of_the_files(trained: Path) -> None:
    """As a mean and standard deviation in percent, by hand."""
    runs = cl_runner.load(trained)
    lines = {line.split()[0]: line for line in runs.table().splitlines()[2:]}
    for strategy in ("finetune", "rehearsal"):
        files = [results(trained / f"{strategy}_{seed}") for seed in (0, 1)]
        for name in ("average_accuracy", "forgetting"):
            values = [100 * file[name] for file in files]
            assert f"{fmean(values):.1f} ± {stdev(values):.1f}" in lines[strategy]
    assert repr(runs) == "<Runs: 5 runs: 4 complete, 1 failed>"
    assert str(runs) == f"{runs.table()}\n5 runs: 4 complete, 1 failed"


def test_a_wide_frame_has_a_row_a_run(trained: Path) -> None:
    pytest.importorskip("pandas")
    frame = cl_runner.load(trained).to_pandas()
    assert len(frame) == 5
    for row in frame.to_dict("records"):
        assert row["folder"] == str(trained / row["run"])
        if row["run"] == "too_fast":
            assert row["state"] == "failed" and np.isnan(row["average_accuracy"])
            continue
        file = results(trained / row["run"])
        for key in ("strategy", "dataset", "model", "optimizer", "seed", "average_accuracy"):
            assert row[key] == file[key]
        assert row["forgetting"] == file["forgetting"] and np.isnan(row["average_mse"])
        assert row["seconds"] == file["cost"]["seconds"]
    assert frame["mse_growth"].dtype == np.float64
    means = frame.groupby("strategy")["average_accuracy"].mean()
    files = [results(trained / f"rehearsal_{seed}") for seed in (0, 1)]
    assert means["rehearsal"] == pytest.approx(fmean(f["average_accuracy"] for f in files))


def test_a_long_frame_has_a_row_for_each_number_of_the_matrices(trained: Path) -> None:
    pytest.importorskip("pandas")
    runs = cl_runner.load(trained)
    frame = runs.to_pandas("long")
    expected = {
        (name, t + 1, k + 1): value
        for name in ("finetune_0", "finetune_1", "rehearsal_0", "rehearsal_1")
        for t, row in enumerate(results(trained / name)["accuracy"])
        for k, value in enumerate(row)
        if value is not None
    }
    rows = zip(frame["run"], frame["after_task"], frame["task"], frame["value"], strict=True)
    assert {(run, t, k): value for run, t, k, value in rows} == expected
    assert len(frame) == len(expected) == 4 * 6
    assert set(frame["measure"]) == {"accuracy"}
    assert set(frame["task_name"]) == {"classes 0, 1", "classes 2, 3", "classes 4, 5"}
    with pytest.raises(ValueError, match="form is 'wide' or 'long', not 'tall'"):
        runs.to_pandas("tall")  # type: ignore[arg-type]


def test_a_setting_that_differs_has_a_column(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    for number, alpha in enumerate((0.5, 2)):
        run_folder(tmp_path / str(number), "lwf", 0, (0.5, 0.6), alpha=alpha)
    frame = cl_runner.load(tmp_path).to_pandas()
    assert list(frame["strategy.alpha"]) == [0.5, 2]


def test_without_pandas_it_is_one_line(trained: Path, monkeypatch) -> None:
    imported = builtins.__import__

    def without(name: str, *given: Any) -> Any:
        if name == "pandas":
            raise ModuleNotFoundError(name)
        return imported(name, *given)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(cl_runner.RunError) as raised:
        cl_runner.load(trained).to_pandas()
    line = "config error: pandas is not installed. Hint: pip install 'pandas>=2'."
    assert str(raised.value).rstrip(".") == line.rstrip(".")


def test_the_report_is_that_of_the_command(trained: Path, no_figures, tmp_path: Path) -> None:
    page = cl_runner.load(trained).report(tmp_path / "here")
    assert page == tmp_path / "here" / "report.html"
    assert "rehearsal" in page.read_text()
    assert (tmp_path / "here" / "runs.csv").read_text().count("\n") == 6


def test_the_report_compares_what_is_asked(
    trained: Path, no_figures, tmp_path: Path, monkeypatch
) -> None:
    """As the command does with the same flags."""
    runs = cl_runner.load(trained)
    runs.report(tmp_path / "plain")
    runs.report(tmp_path / "python", method="finetune", baseline="rehearsal", margin=99)
    flags = ["--method", "finetune", "--baseline", "rehearsal", "--margin", "99"]
    words = ["cl-report", str(trained), "--output", str(tmp_path / "shell"), *flags]
    monkeypatch.setattr(sys, "argv", words)
    command.main()
    plain, python, shell = (
        (tmp_path / name / "results.md").read_text() for name in ("plain", "python", "shell")
    )
    assert python == shell != plain


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"baseline": "ewcc"}, "baseline=ewcc: must be a strategy or a row of the ranking"),
        ({"method": "rehersal"}, "Hint: did you mean rehearsal?"),
        ({"method": "finetune", "baseline": "finetune"}, "method=finetune: is the baseline"),
        ({"margin": -1.0}, "margin=-1.0: must be a number above 0"),
    ],
)
def test_what_cannot_be_compared_is_one_line(asked, line: str, trained: Path, tmp_path) -> None:
    with pytest.raises(errors.ConfigError) as raised:
        cl_runner.load(trained).report(tmp_path / "here", **asked)
    assert line in str(raised.value) and "--" not in str(raised.value)
    assert not [*tmp_path.iterdir()]


def test_what_is_no_name_or_number_is_a_type_error(trained: Path) -> None:
    runs = cl_runner.load(trained)
    with pytest.raises(TypeError, match="report compares names such as 'ewc', not <Run"):
        runs.report(baseline=runs[0])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"margin is a number of points such as 1.5, not '1'"):
        runs.report(margin="1")  # type: ignore[arg-type]


def test_a_folder_without_runs_is_one_line(tmp_path: Path) -> None:
    for folder, reason in ((tmp_path, "holds no run"), (tmp_path / "none", "is not a folder")):
        with pytest.raises(errors.ConfigError, match=f"{folder}: {reason}"):
            cl_runner.load(folder)
        with pytest.raises(errors.ConfigError, match=f"{folder}: {reason}"):
            cl_runner.Run.at(folder)


@pytest.mark.parametrize("name", ["results.json", "config.yaml", "status.json"])
def test_a_damaged_run_is_told_and_hurts_no_other(name: str, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "copy")
    (tmp_path / "copy" / "finetune_0" / name).write_bytes(b"\x00{")
    runs = cl_runner.load(tmp_path / "copy")
    assert runs[0].state == "damaged" and name in runs[0].error
    assert [run.state for run in runs[1:4]] == ["complete"] * 3
    with pytest.raises(cl_runner.RunError, match=name):
        _ = runs[0].metrics
    assert "damaged" in runs._repr_html_() and "damaged" in runs[0]._repr_html_()


class Seen(HTMLParser):
    """Checks that every element is closed, and collects the text and the elements."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.elements: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.elements.append(tag)
        assert not any(name.startswith("on") for name, _ in attributes)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attributes: Any) -> None:
        self.elements.append(tag)

    def handle_data(self, text: str) -> None:
        self.words.append(text.strip())


def squares(run: cl_runner.Run) -> Iterator[str]:
    assert run.accuracy is not None
    for row in run.accuracy:
        yield from (f"{100 * value:.1f}" for value in row if not np.isnan(value))


def test_a_notebook_shows_the_metrics_and_the_matrix(trained: Path) -> None:
    run = cl_runner.Run.at(trained / "rehearsal_0")
    seen = Seen(run._repr_html_())
    file = results(run.folder)
    assert f"{100 * file['forgetting']:.1f} %" in seen.words
    assert seen.elements.count("rect") == 6
    assert [word for word in seen.words if word in {*squares(run)}][-6:] == [*squares(run)]
    runs = Seen(cl_runner.load(trained)._repr_html_())
    assert {"rehearsal", "too_fast", "failed", "5 runs: 4 complete, 1 failed"} <= {*runs.words}


def test_what_a_foreign_folder_says_is_text(trained: Path, tmp_path: Path) -> None:
    """No name of a strategy or a task becomes an element."""
    shutil.copytree(trained / "finetune_0", tmp_path / "run")
    file = results(tmp_path / "run")
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    file["strategy"] = file["tasks"][0]["name"] = evil
    file["alarms"] = [evil]
    (tmp_path / "run" / "results.json").write_text(json.dumps(file))
    run = cl_runner.Run.at(tmp_path / "run")
    assert run.complete
    for html in (run._repr_html_(), cl_runner.load(tmp_path)._repr_html_()):
        seen = Seen(html)
        assert not {"script", "img"} & {*seen.elements}
        assert evil in " ".join(seen.words)


def test_many_tasks_are_shown_as_squares_without_numbers(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "finetune_0", tmp_path / "run")
    file = results(tmp_path / "run")
    tasks = 20
    file["tasks"] = [file["tasks"][0]] * tasks
    matrix = [[0.5 if k <= t else None for k in range(tasks)] for t in range(tasks)]
    file |= {"accuracy": matrix, "accuracy_task_il": matrix}
    (tmp_path / "run" / "results.json").write_text(json.dumps(file))
    html = cl_runner.Run.at(tmp_path / "run")._repr_html_()
    assert Seen(html).elements.count("rect") == tasks * (tasks + 1) // 2
    assert html.count("50.0</text>") == 0 and html.count("after task 20: 50.0</title>") == tasks


def test_a_run_of_regression(tmp_path: Path) -> None:
    small = ("dataset=regression_rbf", "epochs=1", "model.widths=[4]", "threads=1")
    run = cl_runner.run(*small, f"output_root={tmp_path}", "name=line")
    assert run.accuracy is None and run.mse is not None
    assert run.mse[-1, 0] == read.results(run.folder).matrix[-1][0]
    assert "mean squared error" in run._repr_html_()
    with pytest.raises(errors.ConfigError, match="has no classes"):
        run.evaluate([0.5], [1.0])
    network = run.network()
    fits = run.predictions()
    inputs = fits["inputs"]
    found = network(network.preprocess(inputs)).squeeze(1).detach().numpy()
    np.testing.assert_allclose(found, fits["fits"][-1], rtol=1e-5, atol=1e-6)
