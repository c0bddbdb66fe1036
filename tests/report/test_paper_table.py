"""The table of a paper: what stands in its cells, and which of them it marks, for planted runs."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from statistics import fmean, stdev

import pytest
from planted_runs import run_folder
from scipy import stats

from cl_runner.config.paths import CONF
from cl_runner.errors import ConfigError
from cl_runner.metrics import METRICS
from cl_runner.report import command
from cl_runner.report.compare.significance import Spread
from cl_runner.report.paper.command import Wanted, table
from cl_runner.report.paper.layout import number
from cl_runner.report.paper.names import DATASETS, OTHERS, STRATEGIES

Values = Sequence[float]
TASK, CLASS = "task_incremental", "class_incremental"


def plant(folder: Path, strategy: str, values: Values, **settings: object) -> None:
    """A run for each seed, with this average accuracy."""
    for seed, value in enumerate(values):
        name = "-".join([strategy, *map(str, settings.values()), str(seed)])
        run_folder(folder / name, strategy, seed, (value, value), **settings)  # type: ignore[arg-type]


def cells(markdown: str) -> dict[str, dict[str, str]]:
    """The cells of a Markdown table, by the texts of its rows and columns."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    head, _, *rows = [[cell.strip() for cell in line[1:-1].split(" | ")] for line in lines]
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., dict[str, dict[str, str]]]:
    """Make the table of the runs below `runs`, with these options."""

    def make(**options: object) -> dict[str, dict[str, str]]:
        text, _ = table([tmp_path / "runs"], tmp_path / "out", Wanted(**options))  # type: ignore[arg-type]
        return cells(text)

    return make


def lines_of(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((out / "table.csv").read_text())))


ER = [0.70, 0.74, 0.71, 0.73, 0.72]
KD = [0.71, 0.73, 0.74, 0.75, 0.74]
FT = [0.20, 0.19, 0.21, 0.20, 0.22]
JOINT = [0.95, 0.96, 0.95, 0.94, 0.95]


def four_methods(runs: Path, **settings: object) -> dict[str, Values]:
    methods = {"rehearsal": ER, "rehearsal_kd": KD, "finetune": FT, "joint": JOINT}
    for strategy, values in methods.items():
        plant(runs, strategy, values, **settings)
    return methods


def test_means_and_deviations_are_those_of_the_seeds(tmp_path, made) -> None:
    methods = four_methods(tmp_path / "runs")
    column = {name: row["Accuracy"] for name, row in made().items()}
    assert list(column) == ["Fine-tuning", "ER", "ER + KD", "Joint"]
    for strategy, name in zip(
        ("finetune", "rehearsal", "rehearsal_kd", "joint"), column, strict=True
    ):
        values = methods[strategy]
        expected = f"{100 * fmean(values):.1f} ± {100 * stdev(values):.1f}"
        assert column[name].replace("*", "") == expected
    sem = made(spread="sem")["ER"]["Accuracy"].replace("*", "")
    assert sem == f"{100 * fmean(ER):.1f} ± {100 * stdev(ER) / 5**0.5:.1f}"
    (line,) = [line for line in lines_of(tmp_path / "out") if line["strategy"] == "rehearsal"]
    assert float(line["mean"]) == pytest.approx(fmean(ER), abs=1e-15)
    assert float(line["sem"]) == pytest.approx(stats.sem(ER))
    assert (line["n"], line["seeds"]) == ("5", "0 1 2 3 4")


def holm(ps: Mapping[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    """As in Holm's paper: the smallest p times their number, the next times one less, …"""
    corrected, largest = {}, 0.0
    for rank, pair in enumerate(sorted(ps, key=ps.__getitem__)):
        largest = max(largest, min(1.0, ps[pair] * (len(ps) - rank)))
        corrected[pair] = largest
    return corrected


def test_the_best_is_bold_and_what_is_not_worse_is_marked(tmp_path, made) -> None:
    methods = four_methods(tmp_path / "runs")
    del methods["joint"]  # higher than all, and never compared
    column = {name: row["Accuracy"] for name, row in made().items()}
    assert column["ER + KD"].startswith("**73.4** ") and column["ER"].startswith("*72.0* ")
    assert "*" not in column["Fine-tuning"] + column["Joint"]
    ps = holm(
        {
            (one, other): float(stats.ttest_rel(methods[one], methods[other]).pvalue)
            for one, other in combinations(methods, 2)
        }
    )
    by_name = {line["strategy"]: line for line in lines_of(tmp_path / "out")}
    assert float(by_name["rehearsal"]["p"]) == pytest.approx(ps["rehearsal", "rehearsal_kd"])
    assert float(by_name["finetune"]["p"]) == pytest.approx(ps["rehearsal_kd", "finetune"])
    assert by_name["rehearsal_kd"]["p"] == by_name["joint"]["p"] == ""
    assert [line["strategy"] for line in by_name.values() if line["best"]] == ["rehearsal_kd"]
    assert by_name["rehearsal"]["not_significantly_worse"] == "yes"


def test_equal_means_are_both_best_and_less_forgetting_is_better(tmp_path, made) -> None:
    """Forgetting is 0.9 minus the last row's first value."""
    for strategy, values in {"lwf": [0.5, 0.7], "ewc": [0.7, 0.5], "si": [0.2, 0.2]}.items():
        plant(tmp_path / "runs", strategy, values)
    rows = made(metrics="average_accuracy,forgetting")
    assert {name: row["Forgetting"][:6] for name, row in rows.items()} == {
        "EWC": "**30.0", "LwF": "**30.0", "SI": "*70.0*",
    }  # fmt: skip
    text = (tmp_path / "out" / "table.md").read_text()
    assert "Average accuracy and forgetting in % on Digits, Class-IL" in text
    assert "Lower is better for forgetting." in text
    assert "With 2 seeds (EWC, SI and LwF) hardly any difference is significant." in text


def test_methods_without_a_memory_stand_in_every_size_of_it(tmp_path, made) -> None:
    runs = tmp_path / "runs"
    for size, more in ((200, 0.1), (50, 0.0), (1000, 0.2)):
        plant(runs, "rehearsal", [value + more for value in ER], buffer_size=size)
    plant(runs, "finetune", FT)
    plant(runs, "ewc", [0.75, 0.76, 0.75, 0.75, 0.74])  # better than the smallest memory only
    rows = made()
    assert list(rows["ER"]) == ["Buffer 50", "Buffer 200", "Buffer 1000"]
    assert len(set(rows["Fine-tuning"].values())) == 1
    assert rows["EWC"] == {
        "Buffer 50": "**75.0** ± 0.7", "Buffer 200": "75.0 ± 0.7", "Buffer 1000": "75.0 ± 0.7",
    }  # fmt: skip
    latex = (tmp_path / "out" / "table.tex").read_text()
    assert r"EWC & \textbf{75.0} $\pm$ 0.7 & \multicolumn{2}{c}{75.0 $\pm$ 0.7} \\" in latex
    down = made(rows=["strategy,strategy.buffer_size"])
    assert list(down) == ["Fine-tuning", "EWC", "ER"] and down["EWC"]["Buffer"] == "–"


def test_what_is_compared_twice_is_best_only_if_it_is_both_times(tmp_path, made) -> None:
    """Below each other: EWC is better than the smaller memory, worse than the larger one."""
    for strategy, more in (("rehearsal", 0.0), ("derpp", 0.02)):
        for size in (50, 200):
            values = [value + more + size / 1000 for value in ER]
            plant(tmp_path / "runs", strategy, values, buffer_size=size)
    plant(tmp_path / "runs", "ewc", [0.85, 0.86, 0.85, 0.85, 0.84])
    made(rows=["strategy.buffer_size,strategy"], columns=["dataset"])
    best = [(line["strategy.buffer_size"], line["strategy"])
            for line in lines_of(tmp_path / "out") if line["best"]]  # fmt: skip
    assert best == [("200", "derpp")]
    assert "best of its column with the same buffer;" in (tmp_path / "out/table.md").read_text()


def test_columns_are_what_else_varies_and_methods_may_be_columns(tmp_path, made) -> None:
    for scenario, more in ((CLASS, 0.0), (TASK, 0.04)):
        plant(tmp_path / "runs", "rehearsal", [v + more for v in ER], scenario=scenario)
        plant(tmp_path / "runs", "lwf", [v - more for v in ER], scenario=scenario, alpha=more)
    rows = made()
    assert list(rows["ER"]) == ["Task-IL", "Class-IL"] and list(rows) == ["LwF", "ER"]
    across = made(columns=["strategy=rehearsal,lwf"])
    assert across == {
        scenario: {method: rows[method][scenario] for method in ("ER", "LwF")}
        for scenario in ("Task-IL", "Class-IL")
    }
    text = (tmp_path / "out" / "table.md").read_text()
    assert "best of its row;" in text
    assert "Not the same in all cells of a method" in text and "strategy.alpha of LwF" in text
    settings = {line["settings"] for line in lines_of(tmp_path / "out")}
    assert settings == {"", "strategy.alpha=0", "strategy.alpha=0.04"}
    (column,) = {tuple(row) for row in made(columns=[f"dataset.scenario={CLASS}"]).values()}
    assert column == ("Accuracy",)  # what all columns share is in the caption
    assert "on Digits, Class-IL:" in (tmp_path / "out" / "table.md").read_text()


def complaint(made: Callable[..., object], **options: object) -> str:
    with pytest.raises(ConfigError) as raised:
        made(**options)
    assert len(str(raised.value).splitlines()) == 1
    return str(raised.value)


def test_several_settings_are_never_averaged(tmp_path, made) -> None:
    for alpha, T in product((1, 10), (1, 2)):
        plant(tmp_path / "runs", "lwf", [alpha / 20 + T / 10] * 2, alpha=alpha, T=T)
    said = complaint(made)
    assert "cell=LwF: has 4 settings" in said
    assert "strategy.T (1, 2); strategy.alpha (1, 10)" in said
    assert "add strategy.T to --rows or --columns" in said and "validation_fraction" in said
    assert "cell=LwF, alpha 1: has 2 settings" in complaint(made, columns=["strategy.alpha"])
    assert made(columns=["strategy.alpha", "strategy.T=2"]) == {
        "LwF": {"alpha 1": "25.0 ± 0.0", "alpha 10": "70.0 ± 0.0"}
    }
    assert made(columns=["strategy.alpha=1e1", "strategy.T=2"]) == {
        "LwF": {"Accuracy": "70.0 ± 0.0"}
    }


def test_a_setting_is_chosen_on_validation_data(tmp_path, made) -> None:
    """The one that is worse on test data. The size of a memory is never chosen."""
    runs = tmp_path / "runs"
    for alpha, test, held_out in ((1, 0.2, 0.8), (2, 0.4, 0.3)):
        for seed in range(2):
            run_folder(runs / f"{alpha}-{seed}", "lwf", seed, (test, test), alpha=alpha,
                       validation=(held_out, held_out))  # fmt: skip
    assert made() == {"LwF": {"Accuracy": "20.0 ± 0.0"}}
    assert "Chosen on validation data: alpha of LwF (1)." in (tmp_path / "out/table.md").read_text()
    assert lines_of(tmp_path / "out")[0]["settings"] == "strategy.alpha=1"
    for size in (50, 200):
        run_folder(
            runs / f"er{size}", "rehearsal", 0, (0.5, 0.5), validation=(0.5, 0.5), buffer_size=size
        )
    said = complaint(made, columns=["dataset.scenario"])
    assert "cell=ER, Class-IL: has 2 settings" in said and "validation" not in said


def test_different_data_is_not_compared(tmp_path, made) -> None:
    plant(tmp_path / "runs", "lwf", [0.2, 0.2])
    plant(tmp_path / "runs", "ewc", [0.3, 0.3], dataset="gtsrb")
    assert made() == {
        "EWC": {"Digits": "–", "GTSRB": "30.0 ± 0.0"},
        "LwF": {"Digits": "20.0 ± 0.0", "GTSRB": "–"},
    }  # fmt: skip
    assert "–: not measured." in (tmp_path / "out" / "table.md").read_text()
    said = complaint(made, columns=["dataset.scenario"])
    assert (
        "on different data: they differ in dataset" in said and "add dataset to --columns" in said
    )


def test_runs_that_are_missing_are_told(tmp_path, made) -> None:
    """Three seeds of one method, one of another, and none of a third."""
    runs = tmp_path / "runs"
    plant(runs, "ewc", [0.3, 0.4, 0.5])
    plant(runs, "lwf", [0.6])
    run_folder(runs / "failed", "lwf", 1, (0, 0), state="failed")
    run_folder(runs / "never", "si", 0, (0, 0), state="failed")
    assert made() == {
        "EWC": {"Accuracy": "40.0 ± 10.0"},
        "SI": {"Accuracy": "–"},
        "LwF": {"Accuracy": "**60.0**"},
    }  # fmt: skip
    text = (tmp_path / "out" / "table.md").read_text()
    assert "over 1 to 3 seeds, without ± where there is one." in text
    assert "Bold: best of its column; too few seeds for a test." in text
    assert "not counted: LwF 1 failed, SI 1 failed." in text
    assert [line["not_complete"] for line in lines_of(tmp_path / "out")] == ["0", "1", "1"]


def test_small_spreads_get_a_second_decimal(tmp_path, made) -> None:
    plant(tmp_path / "runs", "ewc", [0.3, 0.4])
    assert made()["EWC"]["Accuracy"] == "35.0 ± 7.1"
    plant(tmp_path / "runs", "lwf", [0.3, 0.3004])
    assert made()["EWC"]["Accuracy"] == "**35.00** ± 7.07"


def test_errors_have_three_digits() -> None:
    spread = Spread(2.9, 16.25, None, None, 3)
    assert number(spread, METRICS["average_mse"], ".3g", "sd") == ("2.90", " ± 16.25")
    tiny = Spread(1.234e-7, 2e-8, None, None, 3)
    assert number(tiny, METRICS["average_mse"], ".3g", "sd") == ("1.23e-07", " ± 2.00e-08")


MISTAKES = {
    "strategy.buffersize": ({"rows": ["strategy.weigt"]}, "did you mean strategy.weight?"),
    "seed": ({"columns": ["seed"]}, "is what a table averages over"),
    "value": ({"columns": ["strategy.weight=2"]}, "there are 10"),
    "list": ({"columns": ["strategy.weight=10,dataset"]}, "for another setting repeat --columns"),
    "twice": ({"columns": ["strategy"], "rows": ["strategy"]}, "is given twice"),
    "empty": ({"rows": ["strategy="]}, "must be KEY"),
    "metric": ({"metrics": "accuracy"}, "known are average_accuracy"),
    "null": ({"metrics": "intransigence"}, "is null in every run"),
    "labels": ({"labels": Path("nowhere.yaml")}, "does not exist"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(tmp_path, made, mistake) -> None:
    plant(tmp_path / "runs", "ewc", [0.3, 0.4], weight=10.0)
    options, words = MISTAKES[mistake]
    assert words in complaint(made, **options) and not (tmp_path / "out").exists()


def test_the_options_are_for_a_table(tmp_path, monkeypatch, capsys) -> None:
    plant(tmp_path / "runs", "ewc", [0.3, 0.4])
    for options, words in (
        (["--rows", "strategy"], "add --table"),
        (["--table", "--margin", "1"], "is for the report, not for a table"),
    ):
        monkeypatch.setattr("sys.argv", ["cl-report", str(tmp_path / "runs"), *options])
        with pytest.raises(SystemExit) as ended:
            command.main()
        assert ended.value.code == 2 and words in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["cl-report", "--table", str(tmp_path / "runs")])
    command.main()
    printed = capsys.readouterr().out
    assert re.search(r"^\| EWC +\| 35\.0 ± 7\.1 \|$", printed, re.MULTILINE)
    assert sorted(f.name for f in (tmp_path / "runs/report").iterdir()) == [
        "table.csv", "table.md", "table.tex",
    ]  # fmt: skip


def test_what_we_ship_has_a_name_for_papers() -> None:
    names = {"strategy": STRATEGIES, "dataset": DATASETS, "model": OTHERS, "optimizer": OTHERS}
    for group, known in names.items():
        assert {file.stem for file in (CONF / group).glob("*.yaml")} <= set(known), group
