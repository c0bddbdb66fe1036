"""What the report concludes from known numbers, as a reader sees it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
from planted_runs import outcome, run_folder
from scipy import stats

from cl_runner.report import command
from cl_runner.report.compare.comparisons import Asked, compare
from cl_runner.report.compare.conclusions import conclusions
from cl_runner.report.compare.groups import Group, Section
from cl_runner.report.compare.runs import Run
from cl_runner.report.render import ranking

TASK = {"name": "t", "classes": [0, 1], "train": 9}


def section(test: int = 10_000, **values: Sequence[float]) -> Section:
    """Strategies with these average accuracies, by seed; tasks with so many test samples."""
    return Section("s", [group(n, of, accuracy=True, test=test) for n, of in values.items()])


def of_errors(**values: Sequence[float]) -> Section:
    """The same with mean squared errors."""
    return Section("s", [group(n, of, accuracy=False, test=9) for n, of in values.items()])


def group(name: str, values: Sequence[float], accuracy: bool, test: int) -> Group:
    runs = []
    for seed, value in enumerate(values):
        matrix = [[0.9, None], [value, value]]
        measured = {"accuracy" if accuracy else "mse": matrix}
        known = {"strategy": name, "seed": seed, "tasks": [{**TASK, "test": test}] * 2, **measured}
        runs.append(Run(Path(f"{name}{seed}"), {}, outcome(**known), seed))
    return Group(runs, label=name)


def concluded(compared: Section, **asked: Any) -> list[str]:
    question = Asked(**asked)
    return conclusions(compared, compare(compared, question), question)


FINE_TUNING = [0.200, 0.204, 0.196]
THREE = {"finetune": FINE_TUNING, "ewc": [0.9, 0.91, 0.92], "lwf": [0.199, 0.208, 0.196]}


def interval(values: Sequence[float], confidence: float) -> tuple[float, float]:
    """In points, by scipy."""
    scale = stdev(values) / math.sqrt(len(values))
    low, high = stats.t.interval(confidence, len(values) - 1, fmean(values), scale)
    return 100 * low, 100 * high


def test_a_sentence_for_each_comparison_with_fine_tuning() -> None:
    """Two comparisons: the first has 97.5 % by Holm, the second, which fails, 95 %."""
    best, ahead, level, assumed, signs = concluded(section(**THREE))
    assert best == "Best mean: ewc, average accuracy 91.0 % (95 % interval 88.5 to 93.5, 3 seeds)."
    low, high = interval([a - b for a, b in zip(THREE["ewc"], FINE_TUNING, strict=True)], 0.975)
    assert ahead == (
        f"ewc is 71.0 points ahead of finetune (95 % interval {low:.1f} to {high:.1f}, 3 seeds)."
    )
    low, high = interval([a - b for a, b in zip(THREE["lwf"], FINE_TUNING, strict=True)], 0.95)
    assert level == (
        f"lwf and finetune cannot be told apart: 0.1 points "
        f"(95 % interval {low:.1f} to {high:.1f}, 3 seeds)."
    )
    assert "normally distributed (Student's t)" in assumed
    assert "Holm's correction for 2 comparisons;" in assumed
    assert "cannot confirm this with 3 seeds: its smallest p is 0.25" in signs


def test_a_baseline_and_a_method_turn_the_sentences() -> None:
    behind = concluded(section(**THREE), baseline="ewc")
    assert behind[1].startswith("lwf is 70.9 points behind ewc (95 % interval 67")
    assert behind[2].startswith("finetune is 71.0 points behind ewc (95 % interval 66")
    ahead = concluded(section(**THREE), method="ewc")
    assert ahead[1].startswith("ewc is 70.9 points ahead of lwf (95 % interval 67")
    assert ahead[2].startswith("ewc is 71.0 points ahead of finetune")
    both = concluded(section(**THREE), method="ewc", baseline="lwf")
    assert both[1].startswith("ewc is 70.9 points ahead of lwf (95 % interval 67")
    assert len(both) == 4 and "there is none is 5 %." in both[2]  # nothing to correct


def test_joint_training_is_an_upper_bound_and_not_ranked() -> None:
    compared = section(**THREE, joint=[0.99, 0.98, 0.985])
    sentences = concluded(compared)
    assert sentences[0].startswith("Best mean: ewc")
    assert sentences[1].startswith("Upper bound, not ranked: joint, average accuracy 98.5 %")
    assert sentences[2:] == concluded(section(**THREE))[1:]  # the same comparisons
    *_, last = ranking.table(compared, compare(compared, Asked())).rows
    assert [cell.text for cell in last[:2]] == ["upper bound", "joint"]
    gap = concluded(compared, baseline="joint")
    assert gap[2].startswith("ewc is 7.5 points behind joint") and len(gap) == 7
    alone = section(joint=[0.99, 0.98, 0.985])
    assert concluded(alone)[0].startswith("Best mean: joint")


def test_without_fine_tuning_the_best_is_corrected_for_having_been_picked() -> None:
    """Three pairs instead of two comparisons."""
    compared = section(ewc=[0.9, 0.91, 0.92], lwf=[0.80, 0.84, 0.88], si=[0.1, 0.11, 0.12])
    sentences = concluded(compared)
    assert sentences[2].startswith("si is 80.0 points behind ewc")
    assert "Holm's correction for 3 comparisons, as any of them could have been" in sentences[3]
    lwf = compare(compared, Asked()).made[0]
    plain = stats.ttest_1samp([-0.1, -0.07, -0.04], 0).pvalue
    assert lwf.p == pytest.approx(plain)  # si differs from both: lwf is the last of three
    near = section(ewc=[0.9, 0.91, 0.92], lwf=[0.80, 0.84, 0.88], si=[0.8, 0.85, 0.89])
    assert compare(near, Asked()).made[1].p == pytest.approx(3 * plain)  # the smallest of three


@pytest.mark.parametrize(
    ("margin", "words"),
    [
        (2, "lwf and finetune are equivalent within ±2 points: 0.1 points"),
        (1, "are equivalent within ±1 point: 0.1 points"),
        (0.1, "cannot be told apart, nor called equivalent within ±0.1 points: 0.1 points"),
    ],
)
def test_what_lies_within_the_margin_is_equivalent(margin: float, words: str) -> None:
    assert words in concluded(section(**THREE), margin=margin)[2]


def test_a_difference_may_be_seen_and_be_small() -> None:
    compared = section(finetune=[0.5, 0.6, 0.7], ewc=[0.502, 0.6022, 0.7021])
    (words,) = [s for s in concluded(compared, margin=1) if s.startswith("ewc is")]
    assert words.endswith("3 seeds), which is within ±1 point.")


def test_an_interval_is_clipped_to_what_can_be() -> None:
    """Two seeds: t's quantile is 12.7."""
    wide = concluded(section(finetune=[0.1, 0.3], ewc=[0.9, 0.8]))
    assert wide[0].endswith("85.0 % (95 % interval 21.5 to 100.0, 2 seeds).")
    assert "cannot be told apart: 65.0 points (95 % interval -100.0 to 100.0, 2" in wide[1]


def test_with_one_seed_nothing_is_concluded() -> None:
    sentences = concluded(section(finetune=[0.1], ewc=[0.9]))
    assert sentences == [
        "Best mean: ewc, average accuracy 90.0 % (1 seed).",
        "No two of them share two seeds, so nothing can be concluded about their differences. "
        "Run more, such as seed=0,1,2.",
    ]
    (only, nothing) = concluded(section(ewc=[0.9]))
    assert only.startswith("Best mean: ewc") and nothing == "There is nothing to compare it with."
    assert concluded(section()) == ["No run is complete: there is nothing to conclude."]


def test_seeds_that_only_one_has_are_left_out() -> None:
    compared = section(finetune=[0.1, 0.11, 0.12, 0.9], ewc=[0.8, 0.81, 0.83], si=[0.5])
    sentences = concluded(compared)
    assert sentences[1].startswith("ewc is 70.3 points ahead of finetune")
    assert sentences[1].endswith(", 3 shared seeds).")
    assert sentences[2] == "Not compared, for lack of two shared seeds: si."


def of_models(**values: Sequence[float]) -> Section:
    """Strategies named after their model: ewc_400 is ewc with 400 hidden units."""
    compared = section(**values)
    for one in compared.groups:
        strategy, _, width = one.label.partition("_")
        known = {"strategy": strategy}
        one.runs = [
            replace(
                run, settings={"model.width": width}, outcome=run.results.model_copy(update=known)
            )
            for run in one.runs
        ]
        one.label = f"{strategy}, width {width}"
    return compared


TWO_MODELS = {"finetune_10": [0.1, 0.11, 0.12], "finetune_400": [0.5, 0.51, 0.52]}


def test_each_is_compared_with_the_fine_tuning_of_its_own_model() -> None:
    """Compared with the fine-tuning of the other model, ewc of width 10 would be behind."""
    compared = of_models(**TWO_MODELS, ewc_10=[0.3, 0.31, 0.33], ewc_400=[0.8, 0.81, 0.83])
    sentences = concluded(compared)
    assert sentences[1].startswith("ewc, width 400 is 30.3 points ahead of finetune, width 400 (")
    assert sentences[2].startswith("ewc, width 10 is 20.3 points ahead of finetune, width 10 (")
    assert "Holm's correction for 2 comparisons;" in sentences[3]
    assert sentences == concluded(compared, baseline="finetune")
    rows = ranking.table(compared, compare(compared, Asked())).rows
    assert [[cell.text for cell in (row[1], row[3])] for row in rows] == [
        ["ewc, width 400", "finetune, width 400"],
        ["finetune, width 400", "–"],
        ["ewc, width 10", "finetune, width 10"],
        ["finetune, width 10", "–"],
    ]


def test_what_has_no_fine_tuning_of_its_own_is_not_compared() -> None:
    si = {"si_7": [0.4, 0.4, 0.5]}
    sentences = concluded(of_models(**TWO_MODELS, ewc_10=[0.3, 0.31, 0.33], **si))
    assert sentences[1].startswith("ewc, width 10 is 20.3 points ahead of finetune, width 10 (")
    left_out = "Not compared, as no finetune has the same model and training: si, width 7."
    assert left_out in sentences
    nothing_left = concluded(of_models(**TWO_MODELS, **si))
    assert any("for 3 comparisons, as any of them could have been" in s for s in nothing_left)


def test_equal_results_are_called_the_same() -> None:
    sentences = concluded(section(finetune=FINE_TUNING, lwf=FINE_TUNING))
    same = "lwf and finetune have the same average accuracy with every seed (3 seeds)."
    assert sentences[1] == same


def test_one_test_sample_more_with_every_seed_is_no_difference() -> None:
    """9 test samples in each of two tasks: a sample is 5.6 points."""
    compared = section(9, finetune=[0.5, 0.6, 0.7], lwf=[0.5 + 1 / 18, 0.6 + 1 / 18, 0.7 + 1 / 18])
    assert "cannot be told apart: 5.6 points" in concluded(compared)[1]
    (_, note) = ranking.table(compared, compare(compared, Asked())).notes
    assert "at least one test sample (5.6 points)" in note


ERRORS = {"finetune": [1.0, 2.0, 0.5], "ewc": [0.1, 0.21, 0.045], "si": [1.1, 1.5, 0.7]}


def test_errors_are_compared_by_their_ratios() -> None:
    best, behind, level, assumed, _ = concluded(of_errors(**ERRORS))
    assert best.startswith("Best mean: ewc, average mse 0.118 (95 % interval 0 to")
    logs = [math.log(a / b) for a, b in zip(ERRORS["ewc"], ERRORS["finetune"], strict=True)]
    low, high = (math.exp(end / 100) for end in interval(logs, 0.975))
    assert behind == (
        f"ewc is ahead of finetune: {math.exp(fmean(logs)):.3g} times the error "
        f"(95 % interval {low:.3g} to {high:.3g}, 3 seeds)."
    )
    assert level.startswith("si and finetune cannot be told apart: 1.05 times the error")
    assert assumed.startswith("Assumed: logarithms of ratios")
    worse = concluded(of_errors(**ERRORS), method="finetune")[1]
    assert worse.startswith("finetune is behind ewc: 10.2 times the error")


def test_a_margin_for_errors_is_in_percent() -> None:
    compared = of_errors(finetune=[1.0, 2.0, 0.5], si=[1.01, 1.99, 0.505])
    equivalent = concluded(compared, margin=5)[1]
    assert equivalent.startswith("si and finetune are equivalent within ±5 %: 1 times the error")
    assert "nor called equivalent within ±1 %" in concluded(compared, margin=1)[1]


def test_errors_that_seeds_do_not_change_are_not_compared() -> None:
    fixed = concluded(of_errors(finetune=[1.0, 1.0, 1.0], si=[2.0, 2.0, 2.0]))
    assert fixed[1:] == ["Not compared, as the ratio is the same with every seed: si."]
    assert len(concluded(of_errors(finetune=[1.0, 0.0], si=[2.0, 1.5]))) == 2  # log 0


def test_the_test_of_signs_confirms_or_does_not() -> None:
    """Eight seeds on one side; then one far on the other side, beside a difference that is called
    because the others are large."""
    clear = section(finetune=[0.1] * 8, ewc=[0.5 + k / 100 for k in range(8)])
    assert concluded(clear)[-1].endswith("confirms this (p < 0.05 for each, not corrected).")
    mixed = section(finetune=[0.5] * 6, ewc=[0.6, 0.59, 0.62, 0.61, 0.6, 0.4995])
    doubt = "does not confirm this (p is 0.05 or more): ewc."
    assert concluded(mixed)[-1].endswith(doubt)
    assert concluded(mixed, method="finetune")[-1].endswith(doubt)


def test_many_comparisons_are_summed_up() -> None:
    many = {f"m{k:02}": [0.5 + k / 50, 0.51 + k / 50, 0.49 + k / 50] for k in range(1, 12)}
    compared = section(finetune=[0.6, 0.611, 0.589], **many)
    sentences = concluded(compared)
    ahead, level, largest, behind = sentences[1:5]
    assert ahead == "Ahead of finetune (6, by 2.0 to 12.0 points): m11; m10; m09 and 3 more."
    assert level == "Cannot be told apart from finetune (1): m05."
    low, high = interval([0.0, -0.001, 0.001], 0.95)
    assert largest == (
        "The largest of these differences is that of m05: 0.0 points "
        f"(95 % interval {low:.1f} to {high:.1f}, 3 seeds)."
    )
    assert behind == "Behind finetune (4, by 2.0 to 8.0 points): m04; m03; m02; m01."
    assert concluded(compared, method="finetune")[1:5] == sentences[1:5]
    assert "Equivalent within ±5 points to finetune (1): m05." in concluded(compared, margin=5)


def test_the_largest_difference_that_is_not_called_is_named() -> None:
    """Twelve settings 1 to 12 points ahead, of which two seeds with a wide spread call none."""
    wide = {f"m{k:02}": [0.5 + k / 100, 0.8 + k / 100] for k in range(1, 13)}
    sentences = concluded(section(finetune=[0.6, 0.7], **wide))
    assert sentences[1].startswith("Cannot be told apart from finetune (12): m12; m11; m10 and")
    assert sentences[2].startswith(
        "The largest of these differences is that of m12: 12.0 points (95 % interval -"
    )


def test_differences_that_look_the_same_are_named_once() -> None:
    alike = {f"m{k:02}": [0.5, 0.51, 0.49] for k in range(1, 13)}
    sentences = concluded(section(finetune=[0.6, 0.611, 0.589], **alike))
    assert sentences[1].startswith("Behind finetune (12, by 10.0 points): m01; m02; m03")


def test_many_ratios_are_summed_up() -> None:
    worse = {f"m{k:02}": [k + 1.0, k + 1.01, k + 0.99] for k in range(1, 13)}
    sentences = concluded(of_errors(finetune=[1.0, 1.01, 0.99], **worse))
    words = "Behind finetune (12, with 2 to 13 times the error): m01; m02; m03 and 9 more."
    assert sentences[1] == words


def test_the_end_of_an_interval_is_not_rounded_to_no_difference() -> None:
    compared = section(finetune=[0.5, 0.6, 0.7], ewc=[0.502, 0.6022, 0.7036])
    (words,) = [s for s in concluded(compared) if s.startswith("ewc")]
    low, _ = interval([0.002, 0.0022, 0.0036], 0.95)
    assert 0 < low < 0.05 and f"(95 % interval {low:.2f} to" in words


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    for seed in range(2):
        for weight in (1, 10):
            name = f"ewc{weight}-{seed}"
            run_folder(tmp_path / name, "ewc", seed, (0.5, 0.5 + seed / 10), weight=weight)
        run_folder(tmp_path / f"lwf{seed}", "lwf", seed, (0.1, 0.2), alpha=1)
        run_folder(tmp_path / f"other{seed}", "si", seed, (0.1, 0.2), dataset="gtsrb")
    return tmp_path


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--baseline", "lwff"), "--baseline=lwff: must be a strategy or a row of the ranking"),
        (("--baseline", "lwff"), "did you mean lwf?"),
        (("--baseline", "ewc, weigth 10"), "did you mean ewc, weight 10?"),
        (("--method", "naive"), "known are ewc, lwf, si"),
        (("--method", "ewc"), "--method=ewc: are 2 settings. Hint: name one, as 'ewc, weight 1"),
        (("--method", "lwf", "--baseline", "lwf"), "--method=lwf: is the baseline"),
        (("--margin", "0"), "--margin=0.0: must be a number above 0"),
    ],
)
def test_a_name_that_is_not_there_is_told_in_a_line(
    sweep, capsys, monkeypatch, arguments, words
) -> None:
    monkeypatch.setattr("sys.argv", ["cl-report", str(sweep), *arguments])
    with pytest.raises(SystemExit) as ended:
        command.main()
    complaint = capsys.readouterr().err
    assert ended.value.code == 2 and words in complaint and len(complaint.splitlines()) == 1
    assert not (sweep / "report").exists()


@pytest.mark.usefixtures("no_figures")
def test_a_row_can_be_named_where_it_is_and_is_missed_elsewhere(sweep, capsys, monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["cl-report", str(sweep), "--baseline", "ewc, weight 10"])
    command.main()
    printed = capsys.readouterr().out
    assert "lwf and ewc, weight 10 cannot be told apart: -37.5 points" in printed
    assert "No run of ewc, weight 10 is complete here." in printed
    page = (sweep / "report" / "report.html").read_text()
    assert "lwf and ewc, weight 10 cannot be told apart" in page
