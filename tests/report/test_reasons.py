"""The report says why a strategy forgot: runs with planted predictions."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml
from planted_runs import document, run_folder

from cl_runner.forgetting import OWN, PROBE, PROBE_OWN, key_of, labels_of
from cl_runner.report import command
from cl_runner.report.compare.alike import alike
from cl_runner.report.compare.groups import Section
from cl_runner.report.compare.reasons import limits, reasons, sentence, sentences
from cl_runner.report.compare.runs import read
from cl_runner.report.compare.sorting import sections
from cl_runner.report.render.reasons import bars, why

SAMPLES = 100


def section_of(folder: Path) -> Section:
    (section,) = sections(read([folder]))
    return section


def with_right(y: Sequence[int], right: int, wrong: int) -> list[int]:
    """The labels, of which all but the first `right` are replaced."""
    return [c if n < right else wrong for n, c in enumerate(y)]


def planted(
    folder: Path,
    strategy: str,
    seed: int = 0,
    *,
    then: int = 90,
    now: int = 0,
    own: int = 80,
    probe: int | None = None,
    scenario: str = "class_incremental",
    **settings: object,
) -> Path:
    """A run of two tasks. Of the 100 samples of the first one, `then` are right at first; after the
    second one `now` are, `own` among their own classes, and `probe` by a refitted head. The others
    are called a class of the second task, or of their own where no others compete."""
    run_folder(folder, strategy, seed, (now / 100, 1.0), **settings)
    shared, named = scenario == "domain_incremental", scenario == "task_incremental"
    task = {"name": "t", "classes": [5, 7], "train": 9, "test": SAMPLES}
    tasks = [task, {**task, "classes": [5, 7] if shared else [1, 2]}]
    accuracy = [[then / 100, None], [now / 100, 1.0]]
    among_own = [[then / 100, None], [own / 100, 1.0]]
    results = document(
        strategy=strategy,
        seed=seed,
        conventions={"scenario": scenario},
        accuracy=accuracy,
        accuracy_task_il=None if shared else among_own,
    )
    results |= {"tasks": tasks, "metrics_are_of": "accuracy_task_il" if named else "accuracy"}
    (folder / "results.json").write_text(json.dumps(results))
    y, second = [0] * SAMPLES, [0 if shared else 2] * SAMPLES
    other = 1 if shared else 2
    first = {"": with_right(y, then, 1), OWN: with_right(y, then, 1)}
    later = {"": with_right(y, now, other), OWN: with_right(y, own, 1)}
    ends = ["", OWN]
    if probe is not None:
        first |= dict.fromkeys((PROBE, PROBE_OWN), y)
        later |= dict.fromkeys((PROBE, PROBE_OWN), with_right(y, probe, 1))
        ends += [PROBE, PROBE_OWN]
    arrays = {labels_of(0): y, labels_of(1): second}
    for end in ends:
        arrays |= {key_of(0, 0) + end: first[end], key_of(1, 0) + end: later[end]}
        arrays[key_of(1, 1) + end] = second
    kinds = {key: np.array(classes, dtype=np.int16) for key, classes in arrays.items()}
    plain = {key: classes for key, classes in kinds.items() if PROBE not in key}
    np.savez(folder / "predictions.npz", **plain)
    if probe is not None:
        np.savez(folder / "probe.npz", **kinds)
    return folder


def said(folder: Path) -> str:
    section = section_of(folder)
    (reason,) = reasons(section)
    return sentence(reason)


def test_one_sentence_says_what_was_lost_and_where_it_went(tmp_path) -> None:
    planted(tmp_path / "a", "lwf", then=94, now=0, own=93, probe=96)
    assert said(tmp_path) == (
        "lwf: task 1 fell from 94 % to 0 %: its classes are still told apart at 93 % "
        "(classifier) and 96 % (features); 100 % of its samples are called classes of task 2."
    )


def test_without_a_refitted_head_it_is_silent_on_features(tmp_path) -> None:
    planted(tmp_path / "a", "lwf", then=94, now=30, own=93)
    assert said(tmp_path) == (
        "lwf: task 1 fell from 94 % to 30 %: its classes are still told apart at 93 % "
        "(classifier); 70 % of its samples are called classes of task 2."
    )
    section = section_of(tmp_path)
    assert any("diagnose=probe" in line for line in limits(section, reasons(section)))
    lost = why(section).tables[0]
    row = dict(zip(lost.columns, [cell.text for cell in lost.rows[0]], strict=True))
    assert (row["by features and head"], row["hidden"]) == ("1.0", "63.0")
    assert not {"by features", "by head", "told apart by refitted head"} & set(lost.columns)
    (legend,) = bars(reasons(section)).legends
    assert [text.get_text().partition(":")[0] for text in legend.get_texts()] == [
        "features and head", "hidden"]  # fmt: skip


def test_what_guessing_reaches_is_not_called_told_apart(tmp_path) -> None:
    """Two classes: guessing is right in half of the samples."""
    planted(tmp_path / "a", "lwf", then=94, now=0, own=52)
    assert said(tmp_path) == (
        "lwf: task 1 fell from 94 % to 0 %: its classes are hardly told apart any more, at 52 % "
        "(classifier), where guessing gives 50 %; 100 % of its samples are called classes of task "
        "2."
    )
    (note,) = why(section_of(tmp_path)).tables[0].notes
    assert note.endswith("Guessing among them gives 50.0 %.")


def test_what_was_kept_needs_no_reason(tmp_path) -> None:
    planted(tmp_path / "a", "joint", then=94, now=95, own=97)
    assert said(tmp_path) == (
        "joint: task 1 keeps what was learned, 94.0 % when just learned and 95.0 % at the end."
    )


@pytest.mark.parametrize("scenario", ["task_incremental", "domain_incremental"])
def test_where_no_class_hides_another_nothing_is_hidden(tmp_path, scenario) -> None:
    planted(tmp_path / "a", "ewc", then=90, now=60, own=60, probe=85, scenario=scenario)
    assert said(tmp_path) == (
        "ewc: task 1 fell from 90 % to 60 %; a head refitted to the features tells its classes "
        "apart at 85 %."
    )
    found = why(section_of(tmp_path))
    assert "none hides" in found.sentences[1] or "no class hides" in found.sentences[1]
    lost, called = found.tables
    assert dict(zip(lost.columns, [c.text for c in lost.rows[0]], strict=True)) == {
        "strategy": "ewc", "samples": "validation", "just learned": "90.0", "at the end": "60.0",
        "lost": "30.0", "by features": "15.0", "by head": "15.0", "hidden": "0.0",
        "told apart by head": "60.0", "told apart by refitted head": "85.0",
        "refitted head, all classes": "85.0",
    }  # fmt: skip
    assert "bias to the last task" not in called.columns


def test_means_are_over_seeds(tmp_path) -> None:
    planted(tmp_path / "a", "lwf", 0, then=90, now=10, own=80, probe=90)
    planted(tmp_path / "b", "lwf", 1, then=80, now=0, own=80, probe=70)
    found = why(section_of(tmp_path))
    lost, called = ({c: v.value for c, v in zip(t.columns, t.rows[0], strict=True)}
                    for t in found.tables)  # fmt: skip
    assert lost["lost"] == pytest.approx(0.8) and lost["by features"] == pytest.approx(0.2)
    assert lost["hidden"] == pytest.approx(0.75) and lost["by head"] == pytest.approx(-0.15)
    assert called["class of the last task"] == pytest.approx(0.95)
    assert called["bias to the last task"] == pytest.approx((0.95 + 1) / 2 - 0.5)
    numbers = {row[0].text: row[2].value for row in found.details[1].rows}
    assert numbers == {"5": pytest.approx(0.05), "7": None, "1": 1.0, "2": None}


def test_bars_add_up_to_the_loss(tmp_path) -> None:
    """Gains are on one side of 0, losses on the other; the line is their sum."""
    planted(tmp_path / "a", "lwf", then=80, now=0, own=90, probe=70)
    planted(tmp_path / "b", "ewc", then=90, now=20, own=60, probe=70)
    explained = reasons(section_of(tmp_path))
    (axes,) = bars(explained).axes
    for height, reason in enumerate(explained):
        drawn = [p for p in axes.patches if abs(p.get_y() + 0.31 - height) < 0.01]
        widths = [p.get_width() for p in drawn if p.get_width()]
        ends = [(p.get_x(), p.get_x() + p.get_width()) for p in drawn if p.get_width()]
        spans = sorted((min(pair), max(pair)) for pair in ends)
        assert sum(widths) == pytest.approx(100 * reason.lost.loss)
        assert all(a[1] <= b[0] + 1e-9 for a, b in pairwise(spans))
    sums = [line.get_xdata()[0] for line in axes.get_lines()][: len(explained)]
    assert sums == pytest.approx([100 * reason.lost.loss for reason in explained])


def test_each_strategy_has_a_sentence_about_its_best_setting(tmp_path) -> None:
    for alpha, now in ((1, 10), (2, 40)):
        planted(tmp_path / f"{alpha}", "lwf", then=90, now=now, own=80, alpha=alpha)
    planted(tmp_path / "plain", "finetune", then=90, now=0, own=80)
    section = section_of(tmp_path)
    first, second = sentences(section, reasons(section))
    assert first.startswith("lwf, alpha 2: task 1 fell from 90 % to 40 %")
    assert second.startswith("finetune: task 1")


DAMAGE = {
    "missing": None,
    "a class that is not there": {key_of(1, 0): np.full(SAMPLES, 9)},
    "numbers that are no classes": {key_of(1, 0): np.full(SAMPLES, 0.5)},
    "too few": {key_of(1, 0): np.zeros(3, dtype=int)},
    "another name": {"x": np.zeros(3, dtype=int)},
    "another task": {"labels_of_task_9": np.zeros(3, dtype=int)},
}


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_run_without_sound_predictions_is_named(tmp_path, damage) -> None:
    planted(tmp_path / "runs" / "good", "lwf", 0)
    bad = planted(tmp_path / "runs" / "bad", "lwf", 1) / "predictions.npz"
    if (change := DAMAGE[damage]) is None:
        bad.unlink()
    else:
        np.savez(bad, **{**np.load(bad), **change})
    command.report([tmp_path / "runs"], tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Predictions are missing or damaged: bad." in page
    assert "lwf: task 1 fell from 90 % to 0 %" in page


@pytest.mark.usefixtures("no_figures")
def test_the_files_of_a_report_hold_it(tmp_path) -> None:
    planted(tmp_path / "runs" / "a", "lwf", then=94, now=0, own=93, probe=96)
    command.report([tmp_path / "runs"], tmp_path / "out")
    assert "Why it forgot" in (tmp_path / "out" / "results.md").read_text()
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "forgetting.csv").read_text())))
    assert [(row["after_task"], row["on_task"]) for row in rows] == [
        ("1", "1"), ("2", "1"), ("2", "2")]  # fmt: skip
    parts = [float(rows[1][key]) for key in ("features", "head", "hidden")]
    assert parts == pytest.approx([0.04, -0.03, 0.93]) and float(rows[1]["lost"]) == 0.94


def seeds_of(folder: Path, strategy: str, *seeds: tuple[int, int], **settings: object) -> None:
    for seed, (now, own) in enumerate(seeds):
        planted(folder / f"{strategy}{seed}", strategy, seed, now=now, own=own, **settings)


def test_a_penalty_that_equals_fine_tuning_is_named(tmp_path) -> None:
    seeds_of(tmp_path, "finetune", (10, 80), (14, 82), (12, 84))
    seeds_of(tmp_path, "ewc", (12, 81), (11, 80), (13, 86), weight=1)
    seeds_of(tmp_path, "si", (40, 81), (41, 80), (43, 86))
    (line,) = alike(section_of(tmp_path))
    assert line.startswith("Alarm: ewc cannot be told from fine-tuning on any task")
    assert "(3 shared seeds)" in line and line.endswith("What it adds may have no effect.")


def test_one_that_only_keeps_classes_apart_is_told_from_one_that_does_nothing(tmp_path) -> None:
    seeds_of(tmp_path, "finetune", (0, 60), (1, 62), (0, 61))
    seeds_of(tmp_path, "lwf", (0, 94), (0, 95), (1, 93))
    (line,) = alike(section_of(tmp_path))
    assert "It does act" in line and "at 94 %, with fine-tuning at 61 %" in line


def test_one_seed_or_other_settings_name_nobody(tmp_path) -> None:
    seeds_of(tmp_path / "one", "finetune", (10, 80))
    seeds_of(tmp_path / "one", "ewc", (10, 80))
    assert alike(section_of(tmp_path / "one")) == []
    seeds_of(tmp_path / "two", "finetune", (10, 80), (10, 80))
    seeds_of(tmp_path / "two", "ewc", (10, 80), (10, 80))
    assert len(alike(section_of(tmp_path / "two"))) == 1
    for run in (tmp_path / "two").glob("ewc*"):
        config = yaml.safe_load((run / "config.yaml").read_text())
        (run / "config.yaml").write_text(yaml.safe_dump({**config, "epochs": 3}))
    assert alike(section_of(tmp_path / "two")) == []


def test_equal_strategies_are_named_and_others_are_not(tmp_path) -> None:
    """Simulated: three seeds of the same strategy are named in nearly all cases; ten points of
    difference in one entry, at a deviation of one, in none."""
    draw = np.random.default_rng(0)
    named = {0: 0, 10: 0}
    for shift in named:
        for trial in range(20):
            folder = tmp_path / f"{shift}-{trial}"
            values = np.clip(draw.normal(40, 1, (2, 3, 2)).round().astype(int), 0, 90)
            values[1, :, 0] += shift
            seeds_of(folder, "finetune", *values[0].tolist())
            seeds_of(folder, "ewc", *values[1].tolist())
            named[shift] += bool(alike(section_of(folder)))
    assert named[0] >= 18 and named[10] == 0
