"""The report: what it says about runs with known numbers, whatever their names are."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import math
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from statistics import fmean, stdev

import pytest
import yaml
from planted_runs import PLANTED, run_folder

from cl_runner.report import command
from cl_runner.report.compare.comparisons import Asked, compare
from cl_runner.report.compare.conclusions import conclusions
from cl_runner.report.compare.groups import Section
from cl_runner.report.compare.runs import read
from cl_runner.report.compare.sorting import sections
from cl_runner.report.render import formats, settings_table
from cl_runner.report.render.formats import latex, markdown
from cl_runner.report.render.table import Cell, Table
from cl_runner.report.render.tables import costs, runs, sensitivity

FORMULA = "=HYPERLINK(1)|$x_1$ & 50%"


def section_of(folder: Path) -> Section:
    (section,) = sections(read([folder]))
    return section


def sentences_of(section: Section) -> list[str]:
    return conclusions(section, compare(section, Asked()), Asked())


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


OLD = [0.10, 0.20, 0.40]
NEW = [0.90, 0.80, 0.85]


@pytest.fixture
def two_strategies(tmp_path: Path) -> Path:
    """ewc with three seeds; lwf with two, and one that failed."""
    folder = tmp_path / "sweep"
    for seed, pair in enumerate(zip(OLD, NEW, strict=True)):
        run_folder(folder / f"{seed:03}_ewc", "ewc", seed, pair, weight=10.0)
    for seed in range(2):
        run_folder(folder / f"{seed + 3:03}_lwf", "lwf", seed, (0.5, 0.5 + seed / 10), alpha=2)
    run_folder(folder / "005_lwf", "lwf", 2, (0, 0), alpha=2, state="failed")
    return folder


def test_means_deviations_and_intervals_are_over_seeds(two_strategies) -> None:
    ewc, lwf = rows_of(formats.results_csv(sections(read([two_strategies]))))
    values = [(o + n) / 2 for o, n in zip(OLD, NEW, strict=True)]
    half = 4.302652729911275 * stdev(values) / math.sqrt(3)  # t's quantile, 2 degrees of freedom
    expected = [fmean(values), stdev(values), fmean(values) - half, fmean(values) + half]
    measured = [float(ewc[f"average_accuracy{end}"]) for end in ("", "_sd", "_low", "_high")]
    assert measured == pytest.approx(expected)
    assert (ewc["n"], ewc["not_complete"]) == ("3", "0")
    assert (lwf["n"], lwf["not_complete"]) == ("2", "1")
    assert float(lwf["forgetting"]) == pytest.approx(0.4)


@pytest.mark.usefixtures("no_figures")
def test_what_failed_is_shown_and_never_dropped(two_strategies, tmp_path) -> None:
    jobs = [
        {"folder": "006_never", "varied": {"strategy": "si", "seed": "4"}, "overrides": []},
        {"folder": "008_never", "varied": {"strategy.weight": "1e1", "seed": "4"}, "overrides": []},
    ]
    ledger = {"sweep": "s", "id": None, "jobs": jobs}
    (two_strategies / "sweep.json").write_text(json.dumps(ledger))
    run_folder(two_strategies / "007_killed", "joint", 0, (0, 0), state="running")
    lines, _ = command.report([two_strategies], tmp_path / "out")
    states = {r["run"]: r["state"] for r in rows_of((tmp_path / "out" / "runs.csv").read_text())}
    assert len(states) == 9
    assert states["005_lwf"] == "failed" and states["007_killed"] == "killed"
    assert states["006_never"] == states["008_never"] == "missing"
    page = (tmp_path / "out" / "report.html").read_text()
    assert "9 runs: 5 complete, 1 failed, 2 missing, 1 killed" in page
    assert "1 failed" in "\n".join(lines) and "1 missing" in "\n".join(lines)
    group = next(g for g in section_of(two_strategies).groups if g.strategy == "si")
    assert not group.complete and len(group.unfinished) == 1
    ewc = next(g for g in section_of(two_strategies).groups if g.strategy == "ewc")
    assert [run.state for run in ewc.runs].count("missing") == 1  # 1e1 is its weight of 10


DAMAGE = {
    "torn": lambda text: "{",
    "not a number": lambda text: text.replace('"alarms": ', '"forgetting": NaN, "alarms": '),
    "of another version": lambda text: text.replace('"cost"', '"costs"'),
    "regression without fits": lambda text: text.replace(
        '"metrics_are_of": "accuracy"', '"metrics_are_of": "mse"'
    ),
}


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_run_is_shown_as_such_in_its_group(two_strategies, tmp_path, damage) -> None:
    file = two_strategies / "000_ewc" / "results.json"
    file.write_text(DAMAGE[damage](file.read_text()))
    command.report([two_strategies], tmp_path / "out")
    section = section_of(two_strategies)
    assert [row[3].text for row in runs(section).rows].count("damaged") == 1
    ewc, _ = section.groups
    assert (len(ewc.complete), len(ewc.unfinished)) == (2, 1)


def test_jobs_that_were_never_begun_are_known_by_their_command(tmp_path) -> None:
    jobs = [
        {
            "folder": f"00{n}",
            "varied": {"strategy.weight": f"{10.0**n}", "seed": "4"},
            "overrides": ["strategy=ewc", f"strategy.weight={10.0**n}", "seed=4"],
        }
        for n in range(2)
    ]
    (tmp_path / "sweep.json").write_text(json.dumps({"sweep": "s", "id": None, "jobs": jobs}))
    assert [group.label for group in section_of(tmp_path).groups] == [
        "ewc, weight 1",
        "ewc, weight 10",
    ]


def test_models_and_optimizers_are_called_by_their_names(tmp_path) -> None:
    """A setting of one of them distinguishes only the runs that use it."""
    for number, (model, optimizer, lr) in enumerate(
        [("mlp", "sgd", 0.1), ("cnn", "sgd", 0.1), ("mlp", "adam", 0.01), ("mlp", "adam", 0.02)]
    ):
        run = run_folder(tmp_path / str(number), "ewc", 0, (0.1, 0.2))
        config = yaml.safe_load((run / "config.yaml").read_text())
        own = {"mlp": "widths", "cnn": "channels"}[model]
        config["model"] = {"_target_": f"models.{model}", own: [8, 8]}
        config["optimizer"] = {"_target_": f"optimizers.{optimizer}", "lr": lr}
        (run / "config.yaml").write_text(yaml.safe_dump(config))
    section = section_of(tmp_path)
    assert section.varied == ["model", "optimizer", "optimizer.lr"]
    assert [group.label for group in section.groups] == [
        "ewc, model mlp, optimizer sgd",
        "ewc, model cnn, optimizer sgd",
        "ewc, lr 0.01, model mlp, optimizer adam",
        "ewc, lr 0.02, model mlp, optimizer adam",
    ]


def test_run_10_comes_after_run_9(tmp_path) -> None:
    for name in ("10", "9", "a"):
        run_folder(tmp_path / name, "ewc", 0, (0.1, 0.2))
    assert [run.name for run in read([tmp_path])] == ["a", "9", "10"]


def test_settings_are_equal_if_their_numbers_are(tmp_path) -> None:
    for seed, alpha in enumerate([2, 2.0, 0.1234567, 0.1234568]):
        run_folder(tmp_path / str(seed), "lwf", seed, (0.1, 0.2), alpha=alpha)
    labels = {group.label: len(group.complete) for group in section_of(tmp_path).groups}
    assert labels == {"lwf, alpha 2": 2, "lwf, alpha 0.1234567": 1, "lwf, alpha 0.1234568": 1}


def test_a_run_that_contradicts_its_double_is_named(tmp_path) -> None:
    """Same settings, same seed: only the first counts, and the report names the other."""
    run_folder(tmp_path / "a", "ewc", 0, (0.1, 0.2))
    run_folder(tmp_path / "b", "ewc", 0, (0.1, 0.2))
    assert not any("Not counted" in sentence for sentence in sentences_of(section_of(tmp_path)))
    run_folder(tmp_path / "c", "ewc", 0, (0.3, 0.4))
    section = section_of(tmp_path)
    (sentence,) = [s for s in sentences_of(section) if "Not counted" in s]
    assert (
        sentence.startswith("Not counted: c. Another run")
        and section.groups[0].spread(section.metric).n == 1
    )


def test_a_file_that_cannot_be_written_gives_one_line(two_strategies, capsys, monkeypatch) -> None:
    file = two_strategies / "000_ewc" / "results.json"
    monkeypatch.setattr("sys.argv", ["cl-report", str(two_strategies), "--output", str(file)])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 5 and str(file) in capsys.readouterr().err


def test_a_folder_name_that_is_not_utf_8_is_reported(tmp_path) -> None:
    run_folder(tmp_path / "runs" / os.fsdecode(b"a\xff"), "ewc", 0, (0.1, 0.2))
    command.report([tmp_path / "runs"], tmp_path / "out")
    assert "a?" in (tmp_path / "out" / "report.html").read_text()


def test_no_run_and_no_folder_are_told_in_a_line(tmp_path, capsys, monkeypatch) -> None:
    (tmp_path / "empty").mkdir()
    for folder, word in (("empty", "holds no run"), ("nowhere", "is not a folder")):
        monkeypatch.setattr("sys.argv", ["cl-report", str(tmp_path / folder)])
        with pytest.raises(SystemExit) as ended:
            command.main()
        complaint = capsys.readouterr().err
        assert ended.value.code == 2 and word in complaint and len(complaint.splitlines()) == 1
    assert not list((tmp_path / "empty").iterdir()) and not (tmp_path / "nowhere").exists()


@pytest.mark.usefixtures("no_figures")
def test_the_setting_is_chosen_on_validation_data(tmp_path) -> None:
    """The best one there is the worst on test data."""
    for seed in range(2):
        run_folder(tmp_path / f"a{seed}", "lwf", seed, (0.1, 0.2), validation=(0.8, 0.9), alpha=2)
        run_folder(tmp_path / f"b{seed}", "lwf", seed, (0.7, 0.8), validation=(0.3, 0.4), alpha=1)
    # A setting with one seed is not chosen over those with two.
    run_folder(tmp_path / "c", "lwf", 0, (0.9, 0.9), validation=(0.99, 0.99), alpha=3)
    section = section_of(tmp_path)
    chosen = section.chosen(section.measured)
    assert chosen is not None and chosen.varied == {"strategy.alpha": 2}
    sentences = sentences_of(section)
    assert sentences[0].startswith("Best mean: lwf, alpha 3")
    assert sentences[-1].startswith("Chosen is lwf, alpha 2: of 2 settings")
    assert "because they have fewer seeds: lwf, alpha 3." in sentences[-1]
    _, files = command.report([tmp_path], tmp_path / "the page")
    assert "(2 settings compared)" in files[0].read_text()
    assert f"--config-dir &#39;{tmp_path}/the page/best&#39;" in files[0].read_text()


@pytest.mark.usefixtures("no_figures")
def test_without_validation_data_nothing_is_chosen(tmp_path) -> None:
    for alpha in (1, 2):
        run_folder(tmp_path / f"{alpha}", "lwf", 0, (0.5, 0.5), alpha=alpha)
    section = section_of(tmp_path)
    assert section.chosen(section.measured) is None
    assert "No data was held out" in sentences_of(section)[-1]
    _, files = command.report([tmp_path], tmp_path / "out")
    assert not any(file.name == "best.yaml" for file in files)


@pytest.mark.usefixtures("no_figures")
def test_best_yaml_is_that_run_again(cl_train_here, tmp_path: Path) -> None:
    """Bit for bit, starting from the defaults of another data set."""
    common = ("epochs=1", "batch_size=64", "model.widths=[8]", "dataset.validation_fraction=0.2")
    for strategy in ("finetune", "rehearsal"):
        words = (
            *common,
            f"strategy={strategy}",
            "optimizer=sgd",
            "output_root=outputs/both",
            f"name={strategy}",
        )
        assert cl_train_here(*words).returncode == 0
    both = tmp_path / "outputs" / "both"
    _, files = command.report([both], tmp_path / "out")
    assert [file.name for file in files].count("best.yaml") == 1
    means = {run.results.strategy: run.results.validation_mean for run in read([both])}
    strategy = max(means, key=means.__getitem__)
    command_line = ("--config-dir", str(tmp_path / "out" / "best"), "experiment=best", "name=again")
    done = cl_train_here(*command_line)
    assert done.returncode == 0, done.stderr
    for name in ("metrics.jsonl", "predictions.npz"):
        first = both / strategy / name
        assert first.read_bytes() == (tmp_path / "outputs" / "again" / name).read_bytes()


@pytest.mark.usefixtures("no_figures")
def test_best_yaml_says_nothing_that_was_masked(tmp_path) -> None:
    run = run_folder(
        tmp_path / "a", "lwf", 0, (0.5, 0.5), validation=(0.5, 0.5), alpha="${oc.env:X}"
    )
    config = yaml.safe_load((run / "config.yaml").read_text())
    config |= {"extra": "<env:HOME>/x", "hydra": {"run": {"dir": "/"}}, "defaults": ["x"]}
    config["dataset"]["root"] = "/home/someone"
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    _, files = command.report([tmp_path], tmp_path / "out")
    (best,) = [file for file in files if file.name == "best.yaml"]
    settings = yaml.safe_load(best.read_text())
    assert "alpha" not in settings["strategy"] and "root" not in settings["dataset"]
    assert not {"extra", "hydra"} & set(settings) and "x" not in settings["defaults"]


def test_sensitivity_comes_with_the_deviation_over_seeds(tmp_path) -> None:
    """Two seeds of each of two settings, 0.2 apart: a deviation of 0.2 / √2."""
    for alpha, mean in ((1, 0.4), (2, 0.7)):
        for seed, value in enumerate((mean - 0.1, mean + 0.1)):
            run_folder(tmp_path / f"{alpha}-{seed}", "lwf", seed, (value, value), alpha=alpha)
    (row,) = sensitivity(section_of(tmp_path)).rows
    assert [cell.text for cell in row[2:]] == [
        "1: 40.0, 2: 70.0",
        "2",
        "30.0",
        f"{20 / math.sqrt(2):.1f}",
    ]


def test_costs_are_means_over_seeds(tmp_path) -> None:
    """Runs that took 2, 3 and 4 seconds, and stored 3 MB."""
    for seed in range(3):
        run_folder(tmp_path / str(seed), "gdumb", seed, (0.5, 0.5), memory=3 * 10**6)
    (row,) = costs(section_of(tmp_path)).rows
    assert [cell.text for cell in row] == ["gdumb", "3.0", "6", "3.000", "100"]


def test_values_that_are_alike_in_brief_are_two(tmp_path) -> None:
    for number, (alpha, accuracy) in enumerate(((0.12341234, 0.5), (0.12341999, 0.9))):
        run_folder(tmp_path / str(number), "lwf", 0, (accuracy, accuracy), alpha=alpha)
    (row,) = sensitivity(section_of(tmp_path)).rows
    assert row[2].text == "0.12341234: 50.0, 0.12341999: 90.0" and row[4].text == "40.0"


def test_sensitivity_is_the_range_of_means(tmp_path) -> None:
    for alpha, mean in ((1, 0.5), (2, 0.6), (10, 0.55)):
        for T in (1, 2):
            name = f"{alpha}-{T}"
            run_folder(tmp_path / name, "lwf", 0, (mean, mean + T / 50), alpha=alpha, T=T)
    by_setting = {row[1].text: row for row in sensitivity(section_of(tmp_path)).rows}
    alpha, T = by_setting["strategy.alpha"], by_setting["strategy.T"]
    assert [cell.text for cell in alpha[2:5]] == ["1: 51.5, 2: 61.5, 10: 56.5", "2", "10.0"]
    assert [cell.text for cell in T[2:5]] == ["1: 56.0, 2: 57.0", "2", "1.0"]


@pytest.mark.usefixtures("no_figures")
def test_streams_are_not_mixed(two_strategies, tmp_path) -> None:
    run_folder(two_strategies / "other", "ewc", 0, (0.1, 0.1), dataset="gtsrb")
    streams = sections(read([two_strategies]))
    assert [len([r for g in s.groups for r in g.runs]) for s in streams] == [6, 1]
    command.report([two_strategies], tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert 'href="#stream-2"' in page and 'id="stream-2"' in page


class Page(HTMLParser):
    """The tags of a page, with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def values(self, attribute: str) -> list[str]:
        return [attrs[attribute] or "" for _, attrs in self.tags if attribute in attrs]


def test_the_page_stands_alone_and_names_stay_text(tmp_path) -> None:
    evil = tmp_path / PLANTED.replace("/", "∕")
    run_folder(evil / PLANTED.replace("/", "∕"), PLANTED, 0, (0.1, 0.2), note=PLANTED)
    run_folder(evil / "b", FORMULA, 0, (0.3, 0.2), note=FORMULA)
    run_folder(evil / "c", FORMULA, 1, (0, 0), note=FORMULA, state="failed")
    run_folder(evil / "d", PLANTED, 0, (0.1, 0.2), note="../../../x")
    _, files = command.report([evil], tmp_path / "out")
    assert {file.parent for file in files} == {tmp_path / "out", tmp_path / "out" / "figures"}
    text = files[0].read_text()
    page = Page(text)
    assert [tag for tag, _ in page.tags].count("script") == 1
    (policy,) = [a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a]
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy is not None and f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    outside = [v for a in ("href", "src", "xlink:href", "action") for v in page.values(a)]
    assert all(v.startswith(("#", "data:")) for v in outside)
    references = set(re.findall(r"url\(#([^)]*)\)", text))
    assert references <= set(ids)


def test_a_spreadsheet_computes_nothing(two_strategies) -> None:
    run_folder(two_strategies / "=cmd|' ∕C calc'!A0", "ewc", 7, (0.1, 0.2), weight="@SUM(1)")
    streams = sections(read([two_strategies]))
    tables = formats.runs_csv(streams), formats.results_csv(streams)
    cells = [cell for text in tables for row in csv.reader(io.StringIO(text)) for cell in row]
    risky = [c for c in cells if c.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert all(re.fullmatch(r"-?[\d.e-]+", c) for c in risky)
    assert "'=cmd|' ∕C calc'!A0" in cells and "'@SUM(1)" in cells


def test_markdown_and_latex_keep_names_as_text() -> None:
    table = Table(
        "T", ["a|b", "n"], [[Cell(FORMULA), Cell("1", 1.0)], [Cell("<b>\n*x*"), Cell("–")]]
    )
    lines = markdown(table).splitlines()
    assert lines[2:] == [
        r"| a\|b | n |",
        "| --- | --- |",
        r"| =HYPERLINK(1)\|\$x\_1\$ &amp; 50% | 1 |",
        r"| &lt;b&gt; \*x\* | – |",
    ]
    body = latex(table)
    assert r"=HYPERLINK(1)\textbar{}\$x\_1\$ \& 50\% & 1 \\" in body
    # After \\, a bracket would be a length, and a star another command.
    assert "\n{[}1,2]" in latex(Table("T", ["a"], [[Cell("[1,2]")]]))
    assert r"\begin{tabular}{lr}" in body
    assert formats.latex(Table("T", ["\\{~^"], [])).count(r"\textbackslash{}\{") == 1


def test_a_report_of_runs_that_were_made(tmp_path, cl_train_here) -> None:
    """A sweep from the command line to the page: two strategies, two seeds, no held-out data."""
    words = ("-m", "epochs=1", "model.widths=[8]", "batch_size=64", "name=mine")
    done = cl_train_here(*words, "strategy=finetune,rehearsal", "seed=0,1")
    assert done.returncode == 0
    lines, files = command.report([tmp_path / "outputs" / "sweeps" / "mine"], tmp_path / "out")
    assert lines[0] == "digits, class-incremental, 5 tasks"
    page = files[0].read_text()
    assert "Chaudhry et al. 2018" in page  # the definition of forgetting
    assert "reset_optimizer" in page  # a convention
    (tables,) = [f.read_text() for f in files if f.name == "results.md"]
    rows = rows_of((tmp_path / "out" / "results.csv").read_text())
    assert {row["strategy"]: row["n"] for row in rows} == {"finetune": "2", "rehearsal": "2"}
    for row in rows:
        assert f"| {row['strategy']} | 2 | {100 * float(row['average_accuracy']):.1f} " in tables
    assert {f.name for f in files} >= {"report.html", "results.md", "results.tex", "results.csv",
                                       "runs.csv", "trade_off.svg", "costs.pdf"}  # fmt: skip


def test_the_page_says_what_the_runs_were_trained_with(tmp_path) -> None:
    for size in (16, 32):
        folder = run_folder(tmp_path / str(size), "ewc", 0, (0.5, 0.5), weight=size)
        known = yaml.safe_load((folder / "config.yaml").read_text())
        known |= {"epochs": 3, "batch_size": size, "model": {"_target_": "cl_runner.mlp"}}
        (folder / "config.yaml").write_text(yaml.safe_dump(known))
    both, one = section_of(tmp_path), section_of(tmp_path / "16")
    assert settings_table.in_short(both) == "Model mlp, 3 epochs a task."
    assert settings_table.in_short(one) == "Model mlp, 3 epochs a task, batches of 16."
    table = {row[0].text: row[1].text for row in settings_table.settings(both).rows}
    assert table["epochs"] == "3" and table["batch_size"] == "16; 32"
    assert table["dataset.validation_fraction"] == "0.1"
    assert not {"strategy.weight", "seed"} & set(table)


def test_drawn_numbers_are_short_where_that_tells_them_apart(tmp_path) -> None:
    for number, alpha in enumerate((1.7627653699402195, 0.5, 0.05958816109119677)):
        run_folder(tmp_path / str(number), "lwf", 0, (0.5, 0.5), alpha=alpha)
    labels = {group.label for group in section_of(tmp_path).groups}
    assert labels == {"lwf, alpha 1.763", "lwf, alpha 0.5", "lwf, alpha 0.05959"}
    run_folder(tmp_path / "near", "lwf", 0, (0.5, 0.5), alpha=1.7627653)
    labels = {group.label for group in section_of(tmp_path).groups}
    assert {"lwf, alpha 1.7627653699402195", "lwf, alpha 1.7627653"} < labels
